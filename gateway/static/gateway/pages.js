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
