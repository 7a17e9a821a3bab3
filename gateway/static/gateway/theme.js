// Before the page is painted: the theme that was chosen, else that of the system.
"use strict";
const THEMES = ["auto", "light", "dark"];

function chosenTheme() {
  const stored = localStorage.getItem("theme");
  return THEMES.includes(stored) ? stored : "auto";
}

document.documentElement.dataset.theme = chosenTheme();
