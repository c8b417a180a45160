"use strict";

// Browsers of rows and of answers. Their data are JSON in elements that no browser runs, and reach the page as text only.

const SHOWN = 600; // characters of a text before the disclosure
const ROWS = 10; // on one page

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") made.className = value; else made.setAttribute(name, value);
  }
  made.append(...children); // strings become text
  return made;
}

function number(value) {
  return value.toLocaleString("en-US");
}

function many(count, word) {
  return `${number(count)} ${word}${count === 1 ? "" : "s"}`;
}

// A text with its start in view. The rest opens; what the page doesn't have is counted.
function textOf(text, more) {
  const box = element("div", { class: "text", dir: "auto" });
  let end = Math.min(SHOWN, text.length);
  if (text.length - end < SHOWN / 4) end = text.length;
  if (end < text.length && text.charCodeAt(end - 1) >= 0xd800 && text.charCodeAt(end - 1) < 0xdc00) end -= 1;
  box.append(element("span", {}, text.slice(0, end)));
  if (end < text.length) {
    const rest = element("details", { class: "rest" }, element("summary", {}, many(text.length - end, "more character")));
    rest.append(element("div", { dir: "auto" }, text.slice(end)));
    box.append(rest);
  }
  if (more) box.append(element("p", { class: "quiet" }, `and ${many(more, "more character")}, which this page doesn't have`));
  return box;
}

function options(select, pairs) {
  const before = select.value;
  select.replaceChildren(...pairs.map(([value, label]) => element("option", { value }, label)));
  select.value = pairs.some(([value]) => value === before) ? before : pairs[0][0];
}

// Show a browser in the place of the note that there is none without this script.
function reveal(box, note) {
  box.hidden = false;
  document.getElementById(note).hidden = true;
}

function dataOf(id) {
  const found = document.getElementById(id);
  return found === null ? null : JSON.parse(found.textContent);
}

// Rows by step and outcome.
{
  const data = dataOf("rows-data");
  const box = document.getElementById("rows-browser");
  if (data && box) {
    const form = box.querySelector("form");
    const { step, outcome, text } = form.elements;
    const [before, after] = box.querySelectorAll(".pager button");
    const list = box.querySelector("ol");
    const haystack = new Map(data.rows.map((row) => [row, JSON.stringify([row.id, row.facts, row.texts.map((one) => one[1])]).toLowerCase()]));
    let start = 0;

    const counted = (chosen) => chosen.reduce((total, one) => total + one.rows, 0);
    const outcomes = () => {
      const chosen = data.counts.filter((one) => step.value === "" || one.step === step.value);
      const names = [...new Set(chosen.map((one) => one.outcome))];
      const out = chosen.filter((one) => one.outcome !== "kept");
      const of = (name) => counted(chosen.filter((one) => one.outcome === name));
      options(outcome, [
        ["", `any (${number(counted(chosen))})`],
        ["!kept", `left out (${number(counted(out))})`],
        ...names.map((name) => [name, `${name} (${number(of(name))})`]),
      ]);
    };
    const fits = (row) =>
      (step.value === "" || row.step === step.value) &&
      (outcome.value === "" || (outcome.value === "!kept" ? row.outcome !== "kept" : row.outcome === outcome.value));
    const item = (row) => {
      const [anchor, digest] = data.files[row.file];
      const head = element("p", { class: "head" });
      head.append(element("strong", {}, row.step), " ", element("span", { class: row.outcome === "kept" ? "badge good" : "badge bad" }, row.outcome));
      if (row.id) head.append(" ", element("code", {}, row.id));
      const made = element("li", {}, head);
      const facts = element("dl", { class: "facts" });
      for (const [label, value] of row.facts) facts.append(element("div", {}, element("dt", {}, label), element("dd", { dir: "auto" }, value)));
      if (row.facts.length) made.append(facts);
      for (const [label, value, more] of row.texts) made.append(element("p", { class: "label" }, label), textOf(value, more));
      made.append(element("p", { class: "sources" }, element("a", { href: `#${anchor}` }, element("code", {}, `${row.file}:${row.line}`), ` ${digest}`)));
      return made;
    };
    const show = () => {
      const wanted = text.value.trim().toLowerCase();
      const kind = data.rows.filter(fits);
      const needle = JSON.stringify(wanted).slice(1, -1);
      const found = wanted ? kind.filter((row) => haystack.get(row).includes(needle)) : kind;
      start = Math.min(start, Math.max(0, Math.ceil(found.length / ROWS) - 1) * ROWS);
      const page = found.slice(start, start + ROWS);
      const all = counted(data.counts.filter(fits));
      const range = found.length ? `${number(start + 1)} to ${number(start + page.length)} of ${many(found.length, "row")}` : "No row";
      const sample = kind.length < all ? `; this page has ${number(kind.length)} of ${number(all)} rows of this kind` : "";
      box.querySelector(".status").textContent = `${range}${wanted ? " with this text" : ""}${sample}`;
      list.start = start + 1;
      list.replaceChildren(...page.map(item));
      before.disabled = start === 0;
      after.disabled = start + ROWS >= found.length;
    };
    const turn = (by) => {
      start += by;
      show();
      box.scrollIntoView({ block: "start" });
    };

    options(step, [["", "all"], ...[...new Set(data.counts.map((one) => one.step))].map((name) => [name, name])]);
    step.value = data.counts.find((one) => one.step.startsWith("filter "))?.step ?? "";
    outcomes();
    form.addEventListener("submit", (event) => event.preventDefault());
    step.addEventListener("input", outcomes); // not "change": it comes when the text loses the focus, to a row perhaps
    form.addEventListener("input", () => { start = 0; show(); });
    before.addEventListener("click", () => turn(-ROWS));
    after.addEventListener("click", () => turn(ROWS));
    show();
    reveal(box, "rows-without");
  }
}

// Questions with the answers of checkpoints side by side.
{
  const data = dataOf("answers-data");
  const box = document.getElementById("answers-browser");
  if (data && box) {
    const form = box.querySelector("form");
    const { set, category, text, question } = form.elements;
    const boxes = form.querySelector("fieldset");
    const [before, after] = box.querySelectorAll(".pager button");
    const place = box.querySelector(".question");
    const haystack = new Map();
    for (const one of data.sets) for (const each of one.questions) haystack.set(each, JSON.stringify([each.turns, each.answers]).toLowerCase());
    let chosen = data.sets[0];
    let found = [];

    const judgment = (one) => {
      const score = one.score === null ? `no score, ${one.status}` : String(Math.round(one.score * 100) / 100);
      const head = [element("b", {}, score), ` ${one.eval}`, ...(one.part ? [": ", element("bdi", {}, one.part)] : [])];
      if (!one.text[0].trim()) return element("p", { class: "judgment" }, ...head);
      return element("details", { class: "judgment" }, element("summary", {}, ...head), textOf(...one.text));
    };
    const card = (name, answer) => {
      const made = element("div", { class: "card" }, element("h4", { class: "head" }, name));
      if (!answer) return made.append(element("p", { class: "quiet" }, "no answer")), made;
      made.append(answer.text[0].trim() ? textOf(...answer.text) : element("p", { class: "quiet" }, "empty answer"));
      if (answer.ending === "length") made.append(element("p", { class: "label" }, "cut by the token limit"));
      made.append(...answer.judgments.map(judgment));
      return made;
    };
    const show = () => {
      const one = found.find((each) => String(each.number) === question.value);
      const at = found.indexOf(one);
      before.disabled = at <= 0;
      after.disabled = at < 0 || at + 1 >= found.length;
      const sample = chosen.questions.length < chosen.total ? `; this page has ${number(chosen.questions.length)} of ${number(chosen.total)}` : "";
      box.querySelector(".status").textContent = one ? `Question ${number(at + 1)} of ${number(found.length)}${sample}` : `No question fits${sample}`;
      place.replaceChildren();
      if (!one) return;
      const names = [...boxes.querySelectorAll("input:checked")].map((each) => each.value).filter((name) => name in one.answers);
      place.append(element("h3", {}, `Question ${one.number}, ${one.category}`));
      one.turns.forEach((turn, index) => {
        place.append(element("p", { class: "label" }, `turn ${index + 1}: the user`), textOf(...turn));
        place.append(element("div", { class: "cards" }, ...names.map((name) => card(name, one.answers[name][index]))));
      });
    };
    const filter = () => {
      const needle = JSON.stringify(text.value.trim().toLowerCase()).slice(1, -1);
      found = chosen.questions.filter((one) => (category.value === "" || one.category === category.value) && haystack.get(one).includes(needle));
      const label = (one) => `${one.number} ${one.category}: ${one.turns[0][0].slice(0, 60)}`;
      options(question, found.length ? found.map((one) => [String(one.number), label(one)]) : [["", "none"]]);
      show();
    };
    const choose = () => {
      chosen = data.sets[Number(set.value)];
      options(category, [["", `all (${number(chosen.total)})`], ...chosen.counts.map(([name, count]) => [name, `${name} (${number(count)})`])]);
      const legend = boxes.querySelector("legend");
      boxes.replaceChildren(legend, ...chosen.checkpoints.map((name) => {
        const input = element("input", { type: "checkbox", value: name });
        input.checked = true;
        return element("label", { class: "check" }, input, name);
      }));
      filter();
    };
    const turn = (by) => {
      question.selectedIndex += by;
      show();
    };

    options(set, data.sets.map((one, index) => [String(index), one.name]));
    set.parentElement.hidden = data.sets.length < 2;
    form.addEventListener("submit", (event) => event.preventDefault());
    set.addEventListener("change", choose);
    category.addEventListener("change", filter);
    text.addEventListener("input", filter);
    question.addEventListener("change", show);
    boxes.addEventListener("change", show);
    before.addEventListener("click", () => turn(-1));
    after.addEventListener("click", () => turn(1));
    choose();
    reveal(box, "answers-without");
  }
}
