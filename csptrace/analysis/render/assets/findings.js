// The findings: filters, a sortable list, and the detail of the chosen one.

const CHANGES = { new: 0, grown: 1, shrunk: 2, fixed: 3 };

function makeFindings(state) {
  const compared = DATA.kind === "comparison";
  const groups = DATA.groups;
  const chosen = { level: "", code: "", kind: "", host: "" };
  const levelOf = compared ? (group) => known(group.what, CHANGES, "shrunk") : severityOf;
  const levels = Object.keys(compared ? CHANGES : SEVERITIES).filter((level) => groups.some((group) => levelOf(group) === level));
  const sorting = { key: "worst", down: false };
  const texts = new Array(groups.length);
  let order = groups.map((_, index) => index);
  let current = null;

  const columns = compared
    ? [{ name: "Change", silent: true }, { name: "Change", key: "what" }, { name: "Count", key: "after", down: true }, { name: "Finding", key: "code" }, { name: "Kind", key: "kind" }, { name: "Where", key: "where" }]
    : [{ name: "Severity", silent: true }, { name: "Count", key: "count", down: true, cls: "number" }, { name: "Finding", key: "code" }, { name: "Kind", key: "kind" }, { name: "Where", key: "where" }, { name: "Runs", key: "runs", down: true, cls: "number" }];

  const detail = h("article.card.pane.detail", { tabindex: "0", "aria-label": "Detail", "aria-live": "off",
    onkeydown(event) {
      if (event.key === "Escape") rows.scroll.focus();
    } });
  const status = h("span", { role: "status" });
  const clear = h("button.link", { type: "button", onclick: () => reset() }, "Clear");
  const empty = h("div.nothing", { hidden: true }, h("strong", "Nothing fits"), "Take a filter away, or search for something else.");

  const rows = new Rows({
    label: "Findings",
    head: heads(columns, sorting, () => update()),
    draw(index) {
      const group = groups[order[index]];
      const cell = (cls, ...inner) => h(`div${cls}`, { role: "gridcell" }, ...inner);
      const level = levelOf(group);
      const lamp = cell(".lamp", { title: level }, h("span.hidden", level), h(`div.dot.${level}`));
      const code = cell(".code", { title: group.code }, group.code);
      const kind = cell(".mono", { title: group.kind }, group.kind);
      const where = cell(".mono.place", { title: group.where }, group.where || "—");
      return compared
        ? h("div.row", lamp, cell("", group.what), cell(".count", `${number(group.before)} → ${number(group.after)}`), code, kind, where)
        : h("div.row", lamp, cell(".count.number", number(group.count)), code, kind, where, cell(".number.soft", number(group.runs)));
    },
    choose: (index) => show(groups[order[index]]),
    open: () => detail.focus(),
  });

  function show(group) {
    if (group === current) return;
    current = group;
    detail.replaceChildren();
    fill(detail, group ? detailOf(group) : [h("div.nothing", "Choose a finding to read its story.")]);
    detail.scrollTop = 0;
    if (group) state.remember(`finding/${encodeURIComponent(group.fingerprint)}`);
  }

  function textOf(index) {
    if (texts[index] === undefined) {
      const group = groups[index];
      const parts = [group.code, group.kind, group.where, group.handle, group.fingerprint, group.remedy, group.siblings, group.hosts.join("\n"), group.thread, group.task, group.scope];
      for (const [name] of [...group.scopes, ...group.causes]) parts.push(name);
      for (const step of group.steps) {
        parts.push(step.title);
        for (const frame of DATA.stacks[step.stack]) parts.push(placeOf(DATA.frames[frame]), DATA.frames[frame][2]);
      }
      texts[index] = parts.join("\n").toLowerCase();
    }
    return texts[index];
  }

  const fits = (group, index, except) =>
    (except === "level" || !chosen.level || levelOf(group) === chosen.level)
    && (except === "code" || !chosen.code || group.code === chosen.code)
    && (except === "kind" || !chosen.kind || group.kind === chosen.kind)
    && (except === "host" || !chosen.host || group.hosts.includes(chosen.host))
    && state.terms.every((term) => textOf(index).includes(term));

  const rank = { worst: (group) => (compared ? CHANGES : SEVERITIES)[levelOf(group)], what: (group) => CHANGES[levelOf(group)] };

  function compare(one, other) {
    const [a, b] = [groups[one], groups[other]];
    const get = rank[sorting.key] || ((group) => group[sorting.key]);
    const [x, y] = [get(a), get(b)];
    const difference = typeof x === "number" ? x - y : x < y ? -1 : x > y ? 1 : 0;
    return (sorting.down ? -difference : difference) || one - other;
  }

  function update() {
    order = groups.map((_, index) => index).filter((index) => fits(groups[index], index));
    if (sorting.key !== "worst") order.sort(compare);
    rows.reset(order.length, current ? order.indexOf(groups.indexOf(current)) : -1);
    rows.scroll.scrollTop = 0;
    if (rows.active < 0 && order.length) rows.activate(0);
    else if (!order.length) show(null);
    status.textContent = order.length === groups.length ? plural(groups.length, "finding") : `${number(order.length)} of ${number(groups.length)}`;
    clear.hidden = !Object.values(chosen).some(Boolean) && !state.terms.length;
    empty.hidden = order.length > 0;
    rows.scroll.hidden = order.length === 0;
    for (const facet of facets) facet();
  }

  function reset() {
    for (const name of Object.keys(chosen)) chosen[name] = "";
    state.clearSearch();
    update();
  }

  function counts(name, valuesOf) {
    const found = new Map();
    groups.forEach((group, index) => {
      const fitting = fits(group, index, name);
      for (const value of valuesOf(group)) found.set(value, (found.get(value) || 0) + Number(fitting));
    });
    return found;
  }

  const chips = levels.map((level) => h("button.chip", { type: "button", "data-level": level, "aria-pressed": "false", onclick() {
    chosen.level = chosen.level === level ? "" : level;
    update();
  } }, h(`span.dot.${level}`, { "aria-hidden": "true" }), h("span")));
  const facets = [() => {
    const found = counts("level", (group) => [levelOf(group)]);
    for (const chip of chips) {
      const { level } = chip.dataset;
      chip.setAttribute("aria-pressed", String(chosen.level === level));
      chip.lastChild.textContent = compared ? `${number(found.get(level))} ${level}` : plural(found.get(level), NOUNS[level]);
    }
  }];

  function choice(name, label, valuesOf) {
    const values = [...counts(name, valuesOf).keys()].sort();
    const select = h("select", { "aria-label": label, "data-facet": name, onchange() {
      chosen[name] = select.value;
      update();
    } }, h("option", { value: "" }, label), values.map((value) => h("option", { value }, value)));
    facets.push(() => {
      const found = counts(name, valuesOf);
      select.value = chosen[name];
      select.classList.toggle("on", Boolean(chosen[name]));
      for (const option of [...select.options].slice(1)) option.textContent = `${option.value} (${number(found.get(option.value) || 0)})`;
    });
    select.hidden = values.length < 2;
    return select;
  }

  const element = h("div.findings",
    h("section.card.pane.list", { "aria-label": "Findings" },
      h("div.filters", h("div.chips", { role: "group", "aria-label": compared ? "Change" : "Severity" }, chips),
        choice("code", "All findings", (group) => [group.code]),
        choice("kind", "All kinds", (group) => [group.kind]),
        choice("host", "All hosts", (group) => group.hosts)),
      h("div.grid", rows.scroll, empty),
      h("div.tally", status, clear)),
    detail);

  show(null);
  return {
    element: groups.length ? element : h("div.card", h("div.nothing", h("strong", compared ? "Nothing changed" : "No findings"),
      compared ? `${plural(DATA.unchanged, "known finding")} on both sides.` : "No handle was leaked or misused in these logs.")),
    update,
    focus: () => rows.scroll.focus(),
    find(fingerprint) {
      const index = order.findIndex((each) => groups[each].fingerprint === fingerprint);
      if (index >= 0) rows.activate(index);
    },
    refresh: () => rows.activate(rows.active, { quiet: true }),
  };
}
