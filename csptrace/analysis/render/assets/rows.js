// A list of which only the rows in sight are in the document. The list itself has the focus and names
// the active row, so that the keyboard works whichever rows exist.

class Rows {
  // draw(index) → element; choose(index): a row became active; open(index): Enter; key(event, index).
  constructor({ label, role = "grid", head, draw, choose = () => {}, open = () => {}, key = () => false }) {
    this.draw = draw;
    this.choose = choose;
    this.open = open;
    this.key = key;
    this.count = 0;
    this.active = -1;
    this.shown = new Map();
    this.printing = false;
    this.name = `rows${Rows.made += 1}`;
    this.space = h("div.space", { role: "rowgroup" });
    this.scroll = h("div.scroll", {
      onscroll: () => this.draught(),
      onkeydown: (event) => this.pressed(event),
      onclick: (event) => this.clicked(event),
      ondblclick: () => this.active >= 0 && this.open(this.active),
      tabindex: "0", role, "aria-label": label, "aria-multiselectable": "false",
    }, h("div", { role: "rowgroup" }, head), this.space);
    this.head = head;
    new ResizeObserver(() => this.draught()).observe(this.scroll);
    addEventListener("beforeprint", () => { this.printing = true; this.refresh(); });
    addEventListener("afterprint", () => { this.printing = false; this.refresh(); });
  }

  get height() {
    return this.printing ? 30 : 38;
  }

  reset(count, active = -1) {
    this.count = count;
    this.active = Math.min(active, count - 1);
    this.scroll.setAttribute("aria-rowcount", count + 1);
    this.refresh();
  }

  refresh() {
    for (const row of this.shown.values()) row.remove();
    this.shown.clear();
    this.space.style.setProperty("height", `${this.count * this.height}px`);
    this.draught();
  }

  // Bring the document in line with what is in sight.
  draught() {
    const { scrollTop, clientHeight } = this.scroll;
    const first = this.printing ? 0 : Math.max(0, Math.floor(scrollTop / this.height) - 6);
    const last = Math.min(this.count, this.printing ? 1000 : Math.ceil((scrollTop + clientHeight) / this.height) + 6);
    if (clientHeight === 0 && !this.printing) return;
    for (const [index, row] of this.shown) {
      if ((index < first || index >= last) && index !== this.active) {
        row.remove();
        this.shown.delete(index);
      }
    }
    for (let index = first; index < last; index += 1) this.place(index);
    if (this.active >= 0) this.place(this.active);
    const row = this.shown.get(this.active);
    if (row) this.scroll.setAttribute("aria-activedescendant", row.id);
    else this.scroll.removeAttribute("aria-activedescendant");
  }

  place(index) {
    if (this.shown.has(index)) return;
    const row = this.draw(index);
    row.id = `${this.name}-${index}`;
    row.dataset.index = index;
    row.setAttribute("role", "row");
    row.setAttribute("aria-rowindex", index + 2);
    row.setAttribute("aria-selected", String(index === this.active));
    row.classList.toggle("active", index === this.active);
    row.style.setProperty("transform", `translateY(${index * this.height}px)`);
    const next = [...this.shown.keys()].filter((other) => other > index).sort((a, b) => a - b)[0];
    this.space.insertBefore(row, next === undefined ? null : this.shown.get(next));
    this.shown.set(index, row);
  }

  activate(index, { quiet = false } = {}) {
    if (index < 0 || index >= this.count) return;
    const before = this.shown.get(this.active);
    before?.setAttribute("aria-selected", "false");
    before?.classList.remove("active");
    this.active = index;
    const top = index * this.height;
    const { scrollTop } = this.scroll;
    const room = this.scroll.clientHeight - this.head.offsetHeight;
    if (top < scrollTop) this.scroll.scrollTop = top;
    else if (top + this.height > scrollTop + room) this.scroll.scrollTop = top + this.height - room;
    this.draught();
    const row = this.shown.get(index);
    row?.setAttribute("aria-selected", "true");
    row?.classList.add("active");
    if (!quiet) this.choose(index);
  }

  pressed(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target !== this.scroll) return;
    if (this.key(event, this.active)) {
      event.preventDefault();
      return;
    }
    const page = Math.max(1, Math.floor(this.scroll.clientHeight / this.height) - 1);
    const to = {
      ArrowDown: this.active + 1, ArrowUp: this.active - 1, Home: 0, End: this.count - 1,
      PageDown: this.active + page, PageUp: this.active - page,
    }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      this.activate(Math.max(0, Math.min(this.count - 1, to)));
    } else if (event.key === "Enter" && this.active >= 0) {
      event.preventDefault();
      this.open(this.active);
    }
  }

  clicked(event) {
    const row = event.target.closest("[data-index]");
    if (row) this.activate(Number(row.dataset.index));
  }
}
Rows.made = 0;

// The head of such a list: columns of { name, key, cls }; a click on one with a key sorts.
function heads(columns, sorting, sorted) {
  const cells = columns.map((column) => h(`div${column.cls ? `.${column.cls}` : ""}`, { role: "columnheader", "data-key": column.key || "" },
    column.key ? h("button", { type: "button", onclick: () => press(column) }, column.name) : h("span", { class: column.silent ? "hidden" : "" }, column.name)));
  const mark = () => cells.forEach((cell, index) => {
    const { key } = columns[index];
    if (key) cell.setAttribute("aria-sort", sorting.key === key ? (sorting.down ? "descending" : "ascending") : "none");
  });
  function press(column) {
    sorting.down = sorting.key === column.key ? !sorting.down : Boolean(column.down);
    sorting.key = column.key;
    mark();
    sorted();
  }
  mark();
  return h("div.row.heads", { role: "row", "aria-rowindex": "1" }, cells);
}
