// The site's tables, asked for every two seconds while the page is in view. Values go through
// textContent only.
"use strict";

const byId = (id) => document.getElementById(id);
let shown = "";

function cell(text, className) {
  const made = document.createElement("td");
  made.setAttribute("role", "cell"); // narrow screens show rows as cards, which takes the table's own roles away
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

function tagCell(text, kind) {
  const made = cell("", "tight status");
  const tag = document.createElement("span");
  tag.className = `tag ${kind}`;
  tag.textContent = text;
  made.append(tag);
  return made;
}

function words(text) {
  const made = cell(text, "words");
  made.dir = "auto";
  return made;
}

// A name of any script, in its own direction, at the side where all names begin.
function nameCell(text) {
  const made = cell("", "name");
  const name = document.createElement("bdi");
  name.textContent = text;
  made.append(name);
  return made;
}

function responseCell(text) {
  const made = cell("", "response");
  const details = document.createElement("details");
  const summary = document.createElement("summary");
  summary.textContent = "Show";
  const dump = document.createElement("pre");
  dump.textContent = text;
  details.append(summary, dump);
  made.append(details);
  return made;
}

function tableRow(...cells) {
  const made = document.createElement("tr");
  made.setAttribute("role", "row");
  made.append(...cells);
  return made;
}

function outboxRow(row) {
  const recipients = row.recipient.split(",").join(", ");
  const status = tagCell(row.status, row.status === "failed" ? "failed" : "");
  return tableRow(cell(row.id, "tight id"), cell(row.date, "tight"), cell(recipients, "number"), cell(row.sender, "sender"),
    words(row.message), status, responseCell(row.response));
}

function subscriberRow(row) {
  const status = row.active ? tagCell("active", "") : tagCell("pending", "pending");
  return tableRow(cell(row.id, "tight id"), cell(row.date, "tight"), nameCell(row.name), cell(row.mobile, "number"),
    cell(row.group || "none", "group"), status);
}

function state(name, text) {
  byId("state").className = `state ${name}`;
  byId("state-text").textContent = text;
}

function draw(site) {
  byId("outbox").replaceChildren(...site.outbox.map(outboxRow));
  byId("subscribers").replaceChildren(...site.subscribers.map(subscriberRow));
  byId("outbox-count").textContent = site.outbox_total;
  byId("subscribers-count").textContent = site.subscribers_total;
  byId("outbox-empty").hidden = site.outbox_total > 0;
  byId("subscribers-empty").hidden = site.subscribers_total > 0;
  byId("credit").textContent = site.credit === false || site.credit === null ? "–" : String(site.credit);
  byId("queued").textContent = site.queued;
  byId("cron").hidden = site.queued === 0;
  byId("faults").textContent = site.faults.join(", ") || "none";
  byId("mend").hidden = site.faults.length === 0;
  const hooks = Object.entries(site.webhooks).flatMap(([event, urls]) => urls.map((url) => `${event}: ${url}`));
  byId("webhooks").textContent = hooks.join(", ") || "none";
}

async function refresh() {
  try {
    const answer = await fetch("/sandbox/state");
    const text = await answer.text();
    if (text !== shown) {
      shown = text;
      draw(JSON.parse(text));
    }
    state("live", "live");
  } catch {
    state("lost", "not reachable, trying again");
  }
}

byId("cron").addEventListener("click", async () => { await fetch("/sandbox/cron", { method: "POST" }); refresh(); });
byId("mend").addEventListener("click", async () => { await fetch("/sandbox/faults", { method: "DELETE" }); refresh(); });
setInterval(() => { if (!document.hidden) refresh(); }, 2000);
refresh();
