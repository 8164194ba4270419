// The phone: messages as the stream brings them, one thread per number. Everything shown goes through
// textContent, so that a message is never markup.
"use strict";

const LIMIT = 500;
const byId = (id) => document.getElementById(id);
const threads = new Map(); // number -> { messages: oldest first, unread, button }
let selected = decodeURIComponent(location.hash.slice(1)) || null;
let pinned = selected !== null;
let settled = false; // false while the first batch comes in, which is no news

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// The code of a message: behind the # of a WebOTP line, else the first run of 4 to 10 digits of any script.
function codeIn(text) {
  const bound = text.match(/^@\S+ #(\S+)$/mu);
  if (bound) return bound[1];
  const digits = text.match(/(?<![\p{Nd}+])\p{Nd}{4,10}(?!\p{Nd})/u);
  return digits ? digits[0] : null;
}

function timeOf(message) {
  return new Date(message.sent_at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

async function copy(text, button) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Select it and copy";
  }
  setTimeout(() => { button.textContent = before; }, 1500);
}

function bubble(message, isNew) {
  const item = element("li", isNew ? "bubble new" : "bubble");
  const text = element("div", "text", message.message);
  text.dir = "auto";
  const meta = element("div", "meta");
  const from = element("span", "", message.sender ? `from ${message.sender}` : "no sender");
  from.dir = "auto";
  const time = element("time", "", timeOf(message));
  time.dateTime = message.sent_at;
  time.title = message.sent_at;
  meta.append(from, time);
  if (message.flash) meta.append(element("span", "", "flash"));
  if (message.media.length) meta.append(element("span", "", `media: ${message.media.join(", ")}`));
  const code = codeIn(message.message);
  if (code) {
    const button = element("button", "quiet copy", `Copy ${code}`);
    button.type = "button";
    button.addEventListener("click", () => copy(code, button));
    meta.append(button);
  }
  item.append(text, meta);
  return item;
}

function show(number) {
  selected = number;
  const thread = threads.get(number);
  thread.unread = 0;
  byId("thread-title").textContent = number || "(no number)";
  byId("bubbles").replaceChildren(...thread.messages.map((message) => bubble(message, false)));
  refresh();
}

function refresh() {
  const thread = threads.get(selected);
  const last = thread && thread.messages.at(-1);
  byId("empty").hidden = threads.size > 0;
  byId("forget").hidden = threads.size === 0;
  byId("bubbles").hidden = !thread;
  if (!thread) byId("thread-title").textContent = threads.size ? "Choose a number" : "No messages yet";
  const count = thread ? thread.messages.length : 0;
  byId("thread-note").textContent = thread ? `${count} ${count === 1 ? "message" : "messages"}` : "";
  const code = last ? codeIn(last.message) : null;
  byId("latest").hidden = !code;
  byId("latest-code").textContent = code || "";
  const sorted = [...threads.entries()].sort((a, b) => b[1].messages.at(-1).id - a[1].messages.at(-1).id);
  byId("threads").replaceChildren(...sorted.map(([number, one]) => row(number, one)));
  const list = byId("bubbles");
  list.scrollTop = list.scrollHeight;
}

function row(number, thread) {
  const item = element("li");
  if (!thread.button) {
    thread.button = element("button", "thread");
    thread.button.type = "button";
    thread.button.addEventListener("click", () => {
      pinned = true;
      history.replaceState(null, "", `#${encodeURIComponent(number)}`);
      show(number);
    });
  }
  const last = thread.messages.at(-1);
  const snippet = element("span", "snippet", last.message);
  snippet.dir = "auto";
  const parts = [element("span", "number", number || "(no number)"), element("span", "time", timeOf(last)), snippet];
  if (thread.unread) parts.push(element("span", "unread", String(thread.unread)));
  thread.button.replaceChildren(...parts);
  thread.button.setAttribute("aria-pressed", String(number === selected));
  item.append(thread.button);
  return item;
}

function receive(message) {
  const number = message.to;
  if (!threads.has(number)) threads.set(number, { messages: [], unread: 0, button: null });
  const thread = threads.get(number);
  thread.messages.push(message);
  if (thread.messages.length > LIMIT) thread.messages.shift();
  if (settled) byId("announcer").textContent = `Message for ${number}: ${message.message}`;
  if (number === selected) {
    byId("bubbles").append(bubble(message, settled));
    refresh();
  } else if (!pinned || !threads.has(selected)) {
    show(number);
  } else {
    thread.unread += 1;
    refresh();
  }
}

function forget() {
  threads.clear();
  byId("bubbles").replaceChildren();
  if (!pinned) selected = null;
  refresh();
}

function state(name, words) {
  byId("state").className = `state ${name}`;
  byId("state-text").textContent = words;
}

const stream = new EventSource("/sandbox/stream");
stream.addEventListener("open", () => {
  state("live", "live");
  setTimeout(() => { settled = true; }, 500);
});
stream.addEventListener("error", () => state("lost", "not reachable, trying again"));
stream.addEventListener("forget", forget);
stream.addEventListener("message", (event) => receive(JSON.parse(event.data)));

byId("forget").addEventListener("click", () => fetch("/sandbox/messages", { method: "DELETE" }));
byId("latest-copy").addEventListener("click", (event) => copy(byId("latest-code").textContent, event.currentTarget));
byId("empty-url").textContent = `curl '${location.origin}/sandbox/messages?to=%2B14155550123'`;
refresh();
