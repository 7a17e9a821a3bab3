// Asks a model from the form and shows the answer as it comes: one JSON event a line.
"use strict";

const LABELS = {
  deployment: ["Answered by", ""],
  attempts: ["Attempts", ""],
  queued_ms: ["Waited for a slot", " ms"],
  first_content_ms: ["First text after", " ms"],
  total_ms: ["Whole answer after", " ms"],
  input_tokens: ["Tokens in", ""],
  output_tokens: ["Tokens out", ""],
  tokens_per_s: ["Tokens per second", ""],
  request_id: ["Request id in the log", ""],
};

const form = document.querySelector("#inputs");
const [ask, stop, answer, title, state, text, timings, asked] = [
  "ask", "stop", "answer", "answer-title", "state", "text", "timings", "asked",
].map((id) => document.getElementById(id));
let asking = null;

function begin() {
  asking = new AbortController();
  text.textContent = "";
  timings.replaceChildren();
  state.textContent = "Waiting for the model server…";
  text.hidden = true;
  answer.hidden = false;
  ask.disabled = true;
  stop.hidden = false;
  document.querySelector("#nothing-yet")?.remove();
}

function end() {
  asking = null;
  ask.disabled = false;
  stop.hidden = true;
}

function showTimings(values) {
  for (const [name, [label, unit]] of Object.entries(LABELS)) {
    if (values[name] === null || values[name] === "") continue;
    const row = document.createElement("div");
    const term = document.createElement("dt");
    const value = document.createElement("dd");
    term.textContent = label;
    value.textContent = values[name] + unit;
    row.append(term, value);
    timings.append(row);
  }
}

const SHOW = {
  asked(html) { asked.innerHTML = html; },  // our own page, escaped where it was made
  text(piece) {
    text.hidden = false;
    text.textContent += piece;
    state.textContent = "Answering…";
  },
  error(error) { state.textContent = `No answer (${error.code}): ${error.message}`; },
  end(values) {
    if (state.textContent === "Answering…") state.textContent = "Done.";
    if (state.textContent.startsWith("Waiting")) state.textContent = "Done: the answer is empty.";
    showTimings(values);
  },
};

async function readEvents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const [name, told] = Object.entries(JSON.parse(line))[0];
      SHOW[name](told);
    }
  }
}

async function askModel() {
  if (asking) return;
  begin();
  title.focus();
  try {
    const response = await fetch(form.dataset.ask, {
      method: "POST", body: new FormData(form), signal: asking.signal,
    });
    if (response.ok) {
      await readEvents(response.body);
    } else if (response.status === 422) {
      state.textContent = (await response.json()).message;
    } else {
      state.textContent = "Your session has ended, or your role was taken away: load this page again.";
    }
  } catch (error) {
    state.textContent = error.name === "AbortError"
      ? "Stopped. The model server was told."
      : "The connection to this server broke off: load this page again.";
  } finally {
    end();
  }
}

ask.hidden = false;
document.querySelector("#keys").hidden = false;
ask.addEventListener("click", askModel);
stop.addEventListener("click", () => asking?.abort());
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") asking?.abort();
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) askModel();
});
