// Shows what a model server answers as it comes. Without this file the same is a page of its own.
"use strict";

const EVERY_MS = 1000;

async function fetchFragment(url, options = {}) {
  const response = await fetch(url, { ...options, headers: { "X-Requested-With": "fetch" } });
  const holder = document.createElement("template");
  holder.innerHTML = await response.text();
  return holder.content.firstElementChild;
}

function replace(section, fresh) {
  section.replaceWith(fresh);
  begin(fresh);
}

// Asks again and again while the run is not over.
function follow(section) {
  setTimeout(async () => {
    if (!section.isConnected) return;
    try {
      replace(section, await fetchFragment(section.dataset.live));
    } catch {
      follow(section);
    }
  }, EVERY_MS);
}

function begin(section) {
  if (section.dataset.live) follow(section);
  section.querySelectorAll("form[data-replaces-findings]").forEach((form) => {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      replace(section, await fetchFragment(form.action, { method: "POST", body: new FormData(form) }));
    });
  });
}

// A button whose answer is shown on this page, so that nothing typed is lost.
function showHere(button) {
  button.form.addEventListener("submit", async (event) => {
    if (event.submitter !== button) return;
    event.preventDefault();
    const place = document.getElementById(button.dataset.showsIn);
    button.disabled = true;
    try {
      const body = new FormData(button.form);
      const found = await fetchFragment(button.formAction, { method: "POST", body });
      place.replaceChildren(found);
      begin(found);
    } finally {
      button.disabled = false;
    }
  });
}

document.querySelectorAll(".findings").forEach(begin);
document.querySelectorAll("button[data-shows-in]").forEach(showHere);
