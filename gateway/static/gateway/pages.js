// What the pages do without a server. Each works without this file too, a little less comfortably.
"use strict";

function offerThemes(button) {
  const word = button.querySelector("span");
  word.textContent = chosenTheme();
  button.hidden = false;
  button.addEventListener("click", () => {
    const theme = THEMES[(THEMES.indexOf(chosenTheme()) + 1) % THEMES.length];
    localStorage.setItem("theme", theme);
    document.documentElement.dataset.theme = theme;
    word.textContent = theme;
  });
}

// A box that ticks all the others of its column.
function tickAll(box, others) {
  box.addEventListener("change", () => {
    others.forEach((other) => { other.checked = box.checked; });
  });
}

// A row's button says that there is something to save.
function markChanged(form) {
  const controls = [...form.elements].filter((control) => control.type !== "hidden");
  const save = controls.find((control) => control.type === "submit");
  const values = () => controls.map((control) => control.value).join("\n");
  const before = values();
  form.addEventListener("input", () => { save.classList.toggle("primary", values() !== before); });
}

// What is under way shows how far it is; once it is over, the page is another one.
const FOLLOWS_EVERY_MS = 2000;
function follow(part) {
  setTimeout(async () => {
    const answer = await fetch(location.href).catch(() => null);
    const text = answer && answer.ok ? await answer.text() : "";
    const found = new DOMParser().parseFromString(text, "text/html").getElementById(part.id);
    if (found && !("follows" in found.dataset)) { location.reload(); return; }
    if (found && !part.contains(document.activeElement)) part.innerHTML = found.innerHTML;
    follow(part);
  }, FOLLOWS_EVERY_MS);
}

document.querySelectorAll("[data-follows]").forEach(follow);
document.querySelectorAll(".theme-toggle").forEach(offerThemes);
document.querySelectorAll("#action-toggle").forEach((box) => {
  tickAll(box, document.querySelectorAll("input.action-select"));
});
document.querySelectorAll("[data-ticks]").forEach((box) => {
  tickAll(box, document.querySelectorAll(box.dataset.ticks));
});
document.querySelectorAll("form[data-marks-change]").forEach(markChanged);
document.querySelectorAll("a.cancel-link").forEach((link) => {
  link.addEventListener("click", (event) => { event.preventDefault(); history.back(); });
});
