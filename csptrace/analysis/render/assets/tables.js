// Plain tables that sort, and the page of runs and logs.

const TABLE_ROWS = 100;

// columns: { name, get, show, cls, tone, down }; numbers stand on the right.
function makeTable(title, rows, columns) {
  if (!rows.length) return null;
  const sorting = { column: null, down: false };
  let limit = TABLE_ROWS;
  const body = h("tbody");
  const more = h("button.link", { type: "button", onclick() { limit = rows.length; draw(); } });
  const foot = h("div.foot", more);
  const numeric = (column) => typeof column.get(rows[0]) === "number" && column.cls !== "plain";

  function draw() {
    const sorted = [...rows];
    if (sorting.column) {
      const { get } = sorting.column;
      sorted.sort((one, other) => {
        const [x, y] = [get(one), get(other)];
        const difference = typeof x === "number" ? x - y : x < y ? -1 : x > y ? 1 : 0;
        return sorting.down ? -difference : difference;
      });
    }
    body.replaceChildren(...sorted.slice(0, limit).map((row) => h("tr", columns.map((column) => {
      const value = column.get(row);
      const text = column.show ? column.show(row) : typeof value === "number" ? number(value) : value || "—";
      const cell = h("td", text);
      for (const name of [numeric(column) ? "number" : "", column.cls || "", column.tone ? column.tone(row) : ""]) if (name) cell.classList.add(name);
      return cell;
    }))));
    foot.hidden = rows.length <= limit;
    more.textContent = `Show all ${number(rows.length)}`;
  }

  const headings = columns.map((column) => h(`th${numeric(column) ? ".number" : ""}`, { scope: "col" }, h("button", { type: "button", onclick() {
    sorting.down = sorting.column === column ? !sorting.down : Boolean(column.down);
    sorting.column = column;
    headings.forEach((heading, index) => {
      if (columns[index] === column) heading.setAttribute("aria-sort", sorting.down ? "descending" : "ascending");
      else heading.removeAttribute("aria-sort");
    });
    draw();
  } }, column.name)));
  addEventListener("beforeprint", () => { limit = Math.max(limit, 1000); draw(); });
  draw();
  return h("section.card", { "aria-label": title }, h("h2", title), h("div.wide", { tabindex: "0", role: "group", "aria-label": title }, h("table", h("thead", h("tr", headings)), body)), foot);
}

function makeRuns() {
  const count = (run) => run.findings.reduce((sum, finding) => sum + finding.count, 0);
  const flawed = DATA.sources.filter((source) => source.faults);
  const { cost } = DATA;
  const size = cost.bytes > 1e6 ? `${(cost.bytes / 2 ** 20).toFixed(1)} MiB, ` : cost.bytes ? `${(cost.bytes / 1024).toFixed(1)} KiB, ` : "";
  return {
    element: h("div.stack",
      makeTable("What traced processes could not do", DATA.problems, [
        { name: "Code", get: (problem) => problem.code, cls: "mono" },
        { name: "Message", get: (problem) => problem.message },
        { name: "Times", get: (problem) => problem.times, down: true },
      ]),
      makeTable("Logs that were not read in full", flawed, [
        { name: "File", get: (source) => source.path, cls: "mono" },
        { name: "Events", get: (source) => source.events, down: true },
        { name: "What was wrong", get: (source) => source.faults },
      ]),
      makeTable("Processes", DATA.runs, [
        { name: "Program", get: (run) => run.program, cls: "mono" },
        { name: "Host", get: (run) => run.host },
        { name: "Process", get: (run) => run.pid, show: (run) => String(run.pid) },
        { name: "Started", get: (run) => run.started, show: (run) => moment(run.started), down: true },
        { name: "Lasted", get: (run) => run.ended - run.started, show: (run) => duration((run.ended - run.started) * 1e6), down: true },
        { name: "Acquired", get: (run) => run.acquired, down: true },
        { name: "Peak", get: (run) => run.peak, down: true },
        { name: "At end", get: (run) => run.live, down: true, tone: (run) => (run.live ? "warn" : "zero") },
        { name: "Findings", get: count, down: true, tone: (run) => (count(run) ? "bad" : "zero") },
        { name: "Ended", get: (run) => (run.finished ? "itself" : "did not finish"), tone: (run) => (run.finished ? "" : "warn") },
        { name: "Python", get: (run) => run.python },
        { name: "System", get: (run) => run.platform },
        { name: "Level", get: (run) => run.level },
      ]),
      makeTable("Logs", DATA.sources, [
        { name: "File", get: (source) => source.path, cls: "mono" },
        { name: "Events", get: (source) => source.events, down: true },
      ]),
      h("p.soft", `Tracing wrote ${plural(cost.events, "event")} (${size}${plural(cost.stacks, "distinct stack")})${cost.writing >= 0 ? ` in ${duration(cost.writing)}` : ""}.`)),
    update() {},
  };
}
