// Acquisition sites as a flame graph, callers on top, and as a table.

const WEIGHTS = [["acquired", "Acquired"], ["leaked", "Leaked"], ["live", "Live at the end"]];
const FLAME_ROW = 25;

function hueOf(text) {
  let sum = 0;
  for (const char of text) sum = (sum * 31 + char.codePointAt(0)) % 9973;
  return sum / 9973;
}

function grow(weight) {
  const root = { label: "all", at: "", own: true, total: 0, children: new Map(), parent: null, depth: 0 };
  for (const site of DATA.sites) {
    const value = site[weight];
    if (value <= 0) continue;
    root.total += value;
    let node = root;
    const stack = DATA.stacks[site.stack];
    const path = [...stack].reverse().map((index) => DATA.frames[index]).map((frame) => ({ key: `${frame[0]}:${frame[2]}:${frame[1]}`, label: frame[2] === "<module>" ? DATA.files[frame[0]][0] : frame[2], at: placeOf(frame), own: Boolean(frame[3]) }));
    path.push({ key: ` ${site.kind}`, label: site.kind, at: "kind of handle", own: true, kind: true });
    for (const part of path) {
      if (!node.children.has(part.key)) node.children.set(part.key, { ...part, total: 0, children: new Map(), parent: node, depth: node.depth + 1 });
      node = node.children.get(part.key);
      node.total += value;
    }
  }
  return root;
}

function makeFlame(state) {
  let weight = DATA.sites.some((site) => site.leaked > 0) ? "leaked" : "acquired";
  let root = grow(weight);
  let zoom = root;
  const canvas = h("div.flame", { role: "group", "aria-label": "Flame graph. Arrow keys move, Enter zooms, Escape goes back." });
  const crumb = h("div.crumb", { role: "status" });
  const nodes = new Map();

  function colour(node) {
    if (node === root) return "light-dark(#e3e6ee, #323a49)";
    if (node.kind) return "light-dark(#c7c9f9, #8b8ff0)";
    if (!node.own) return "light-dark(#e9ebf0, #222a38)";
    const share = hueOf(node.at.split(":")[0]);
    return `light-dark(oklch(0.84 0.115 ${30 + share * 60}), oklch(0.74 0.125 ${30 + share * 60}))`;
  }

  function describe(node) {
    crumb.replaceChildren();
    const share = root.total ? ((100 * node.total) / root.total).toFixed(1) : "0";
    fill(crumb, [h("strong", number(node.total)), ` ${weight}, ${share} % of all · `, h("code", node.label), node.at ? ` · ${node.at}` : ""]);
  }

  function draw() {
    canvas.replaceChildren();
    nodes.clear();
    const width = canvas.clientWidth;
    if (!width) return;
    if (!root.total) {
      canvas.style.setProperty("height", "auto");
      fill(canvas, [h("div.nothing", weight === "leaked" ? "No site leaked." : "Nothing to show.")]);
      crumb.textContent = "";
      return;
    }
    let deepest = 0;
    const above = [];
    for (let node = zoom; node; node = node.parent) above.unshift(node);
    above.forEach((node, depth) => put(node, 0, width, depth));
    const descend = (node, left, room, depth) => {
      deepest = Math.max(deepest, depth);
      let start = left;
      for (const child of [...node.children.values()].sort((one, other) => other.total - one.total)) {
        const share = (room * child.total) / node.total;
        if (share >= 2) {
          put(child, start, share, depth + 1);
          descend(child, start, share, depth + 1);
        }
        start += share;
      }
    };
    descend(zoom, 0, width, above.length - 1);
    canvas.style.setProperty("height", `${(deepest + 1) * FLAME_ROW}px`);
    describe(zoom);
    mark();
  }

  function put(node, left, room, depth) {
    const button = h("button", { type: "button", tabindex: node === zoom ? "0" : "-1", title: `${node.label}\n${node.at}\n${number(node.total)} ${weight}`,
      css: { left: `${left}px`, top: `${depth * FLAME_ROW}px`, width: `${Math.max(1, room - 1.5)}px`, background: colour(node) } },
    room > 24 ? (node === root ? `all ${number(node.total)} ${weight}` : node.label) : "");
    button.setAttribute("aria-label", `${node.label}, ${number(node.total)} ${weight}`);
    if (!node.own || node === root) button.classList.add("library");
    if (room > 24) button.classList.add("named");
    nodes.set(button, node);
    node.button = button;
    canvas.append(button);
  }

  function mark() {
    for (const [button, node] of nodes) {
      const text = `${node.label}\n${node.at}`.toLowerCase();
      button.classList.toggle("faded", Boolean(state.terms.length) && !state.terms.every((term) => text.includes(term)));
    }
  }

  function zoomTo(node) {
    zoom = node;
    draw();
    node.button?.focus();
  }

  const within = (event) => nodes.get(event.target.closest("button"));
  canvas.addEventListener("click", (event) => within(event) && zoomTo(within(event)));
  canvas.addEventListener("pointerover", (event) => within(event) && describe(within(event)));
  canvas.addEventListener("focusin", (event) => within(event) && describe(within(event)));
  canvas.addEventListener("keydown", (event) => {
    const node = within(event);
    if (!node) return;
    const siblings = node.parent ? [...node.parent.children.values()].filter((each) => each.button?.isConnected).sort((one, other) => other.total - one.total) : [node];
    const index = siblings.indexOf(node);
    const children = [...node.children.values()].filter((each) => each.button?.isConnected).sort((one, other) => other.total - one.total);
    const to = { ArrowDown: children[0], ArrowUp: node.parent, ArrowRight: siblings[index + 1], ArrowLeft: siblings[index - 1] }[event.key];
    if (event.key === "Escape") zoomTo(root);
    else if (to) to.button.focus();
    else if (!event.key.startsWith("Arrow")) return;
    event.preventDefault();
  });
  new ResizeObserver(() => draw()).observe(canvas);

  const life = (quantile) => (site) => (site.lifetime ? site.lifetime[quantile] : -1);
  const lasting = (quantile) => (site) => (site.lifetime ? duration(site.lifetime[quantile]) : "—");
  const table = makeTable("Sites", DATA.sites, [
    { name: "Where", get: (site) => site.where, cls: "mono" },
    { name: "Kind", get: (site) => site.kind, cls: "mono" },
    { name: "Acquired", get: (site) => site.acquired, down: true },
    { name: "Released", get: (site) => site.released, down: true },
    { name: "Leaked", get: (site) => site.leaked, down: true, tone: (site) => (site.leaked ? "bad" : "zero") },
    { name: "Live", get: (site) => site.live, down: true, tone: (site) => (site.live ? "warn" : "zero") },
    { name: "Growth", get: (site) => site.growth, show: (site) => signed(site.growth), down: true, tone: (site) => (site.growth > 0 ? "bad" : "zero") },
    { name: "Median life", get: life("p50"), show: lasting("p50"), down: true },
    { name: "99 %", get: life("p99"), show: lasting("p99"), down: true },
    { name: "Mostly released at", get: (site) => site.released_at, show: (site) => (site.released_at ? `${site.released_at} (${number(site.released_there)})` : "—"), cls: "mono" },
  ]);
  return {
    element: h("div.stack", h("section.card", h("div.title", h("h2", "Where handles are acquired"), h("span.soft", "callers on top"),
      h("span.end", segmented("Weight", WEIGHTS, weight, (value) => { weight = value; root = grow(weight); zoom = root; draw(); }))), canvas, crumb), table),
    update() { draw(); },
  };
}
