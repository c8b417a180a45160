"use strict";

// The theme: what the system says, or the reader's choice, kept in this browser where it lets pages keep something.
{
  const names = ["automatic", "light", "dark"];
  const button = document.getElementById("theme");
  const root = document.documentElement;
  const kept = () => { try { return localStorage.getItem("bezoar-theme"); } catch { return null; } };
  const keep = (name) => { try { localStorage.setItem("bezoar-theme", name); } catch { /* not kept */ } };
  const show = (name) => {
    if (name === "automatic") delete root.dataset.theme; else root.dataset.theme = name;
    button.textContent = `Theme: ${name}`;
  };
  let theme = names.includes(kept()) ? kept() : "automatic";
  show(theme);
  button.hidden = false;
  button.addEventListener("click", () => {
    theme = names[(names.indexOf(theme) + 1) % names.length];
    show(theme);
    keep(theme);
  });
}

// What a mark of a chart shows, beside the pointer.
{
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  tip.setAttribute("aria-hidden", "true");
  document.body.append(tip);
  const place = (event) => {
    const { innerWidth, innerHeight } = window;
    const { offsetWidth: width, offsetHeight: height } = tip;
    const left = event.clientX + 14 + width > innerWidth ? event.clientX - width - 10 : event.clientX + 14;
    const top = event.clientY + 14 + height > innerHeight ? event.clientY - height - 10 : event.clientY + 14;
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${Math.max(4, top)}px`;
  };
  document.addEventListener("pointermove", (event) => {
    const mark = event.target instanceof Element ? event.target.closest(".chart [aria-roledescription][aria-label]") : null;
    tip.hidden = mark === null;
    if (mark) {
      tip.textContent = mark.getAttribute("aria-label");
      place(event);
    }
  });
}

// On paper every part is open, and then as it was.
{
  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")].filter((one) => one.hasAttribute("data-print"));
    for (const one of closed) one.open = true;
  });
  window.addEventListener("afterprint", () => { for (const one of closed) one.open = false; });
}
