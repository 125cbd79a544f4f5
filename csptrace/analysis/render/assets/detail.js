// Everything about one finding.

const KEYWORDS = new Set("False None True and as assert async await break case class continue def del elif else except finally for from global if import in is lambda match nonlocal not or pass raise return try while with yield".split(" "));
const TOKEN = /(#.*)|([rbfuRBFU]{0,2}(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'))|\b(\d[\w.]*)|([A-Za-z_]\w*)(?=(\()?)/g;

function coloured(line) {
  const parts = [];
  let end = 0;
  for (const match of line.matchAll(TOKEN)) {
    const [text, comment, string, digits, word, call] = match;
    const kind = comment ? "c" : string ? "s" : digits ? "d" : KEYWORDS.has(word) ? "k" : call ? "f" : "";
    if (!kind) continue;
    parts.push(line.slice(end, match.index), h(`span.${kind}`, text));
    end = match.index + text.length;
  }
  parts.push(line.slice(end));
  return parts;
}

function quote(frameNumber) {
  const excerpt = DATA.quotes[frameNumber];
  if (!excerpt) return null;
  const [first, lines] = excerpt;
  const line = DATA.frames[frameNumber][1];
  return h("div.quote", { tabindex: "0", role: "group", "aria-label": `Source around line ${line}` }, lines.map((text, index) =>
    h(`div${first + index === line ? ".hit" : ""}`, h("span.n", { "aria-hidden": "true" }, first + index), h("code", coloured(text)))));
}

function frameLine(frameNumber, first) {
  const frame = DATA.frames[frameNumber];
  return h(`div.frame${first ? ".first" : ""}`, { title: pathOf(frame) }, h("span.at", placeOf(frame)), h("span.fn", frame[2]));
}

// The user's frames, those of libraries folded between them; the first of the user's is quoted.
function stackOf(stackNumber) {
  const stack = DATA.stacks[stackNumber];
  const parts = [];
  let folded = [];
  let quoted = false;
  const flush = () => {
    if (!folded.length) return;
    const one = folded.length === 1 ? "1 library frame" : `${folded.length} library frames`;
    parts.push(h("details.more", h("summary", one), folded.map((frame) => frameLine(frame, false))));
    folded = [];
  };
  const own = stack.some((frame) => DATA.frames[frame][3]);
  for (const frame of stack) {
    if (own && !DATA.frames[frame][3]) {
      folded.push(frame);
      continue;
    }
    flush();
    parts.push(frameLine(frame, !quoted));
    if (!quoted) parts.push(quote(frame));
    quoted = true;
  }
  flush();
  return parts;
}

function shares(title, counts) {
  if (!counts.length) return [];
  const most = Math.max(...counts.map(([, count]) => count));
  const shown = counts.slice(0, 8);
  return [h("h3", title), h("div.share", shown.map(([name, count]) => [
    h("span", name || "—"),
    h("div.bar", { "aria-hidden": "true" }, h("i.warning", { css: { width: `${(100 * count) / most}%` } })),
    h("span.number", number(count)),
  ]).flat(), counts.length > shown.length ? h("span.soft", `${counts.length - shown.length} more`) : null)];
}

function copyButton(text) {
  const button = h("button.link", { type: "button", async onclick() {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "copied";
    } catch {
      button.textContent = "select and copy by hand";
    }
  } }, "copy");
  return button;
}

function detailOf(group) {
  const severity = severityOf(group);
  const fact = (name, value) => (value ? [h("dt", name), h("dd", value)] : []);
  const run = (DATA.runs || []).find((each) => each.run === group.run);
  return [
    h("header",
      h(`span.badge.${severity}`, h(`span.dot.${severity}`, { "aria-hidden": "true" }), group.code, h("span.hidden", `, ${NOUNS[severity]}`)),
      h("h2", group.handle),
      h("p.about", group.about)),
    group.remedy ? h("p.callout.fix", h("strong", "Fix"), group.remedy) : null,
    group.siblings ? h("p.callout.siblings", h("strong", "Siblings"), group.siblings) : null,
    group.steps.length ? h("h3", "What happened, in the first one that was seen") : null,
    h("ol.story", group.steps.map((step) => h(`li.${known(step.role, { acquired: 0, ended: 0, exit: 0, last_use: 0, misused: 0 }, "other")}`, h("p.when", step.title), stackOf(step.stack)))),
    shares("Why", group.causes),
    shares("Tests and scopes", group.scopes),
    h("h3", "Facts"),
    h("dl.facts",
      h("dt", "Fingerprint"), h("dd", h("code", group.fingerprint), " ", copyButton(group.fingerprint)),
      fact("API", group.api),
      h("dt", "Age"), h("dd", duration(group.age)),
      h("dt", "Used"), h("dd", plural(group.uses, "time")),
      h("dt", "First seen"), h("dd", moment(group.first)),
      h("dt", "Last seen"), h("dd", moment(group.last)),
      fact("Hosts", group.hosts.join(", ")),
      fact("Thread", group.thread),
      fact("Task", group.task),
      fact("Scope", group.scope),
      fact("Run", run ? `${run.program} on ${run.host}, process ${run.pid} (${run.run})` : group.run)),
  ];
}
