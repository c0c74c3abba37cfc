"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const indexOf = new Map(data.clips.map((clip, i) => [clip.fname, i]));
const UNDECIDED = { revision: 0, action: null, labels: [], why: "" };
const POLL_MS = 3000;

// ---- where decisions are kept: at the server, or in the browser -------------------------------------------------
// Both have the same two answers to a decision: it was kept, or the clip has another one than this page saw.

class ServerKeeper {
  constructor() {
    this.take(data);
  }

  async decide(fname, decision) {
    const response = await fetch("decisions", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ fname, seen: this.of(fname).revision, ...decision, revision: undefined }),
    });
    const said = await response.json();
    if (said.decisions) this.take(said);
    if (!response.ok && response.status !== 409) throw new Error(said.error || JSON.stringify(said.detail));
    return response.ok;
  }

  take(said) {
    this.revision = said.revision;
    this.undecided = { ...UNDECIDED, revision: said.undecided };
    this.known = new Map(Object.entries(said.decisions));
  }

  of(fname) {
    return this.known.get(fname) || this.undecided;
  }

  watch(changed) {
    const look = async () => {
      if (document.hidden) return;
      try {
        const said = await (await fetch("decisions")).json();
        if (said.revision === this.revision) return;
        this.take(said);
        changed();
      } catch {
        // the server is away; the next decision will say so
      }
    };
    setInterval(look, POLL_MS);
    document.addEventListener("visibilitychange", look);
  }
}

class BrowserKeeper {
  constructor() {
    this.prefix = `earmark-audit/${data.key}/`;
    this.seen = new Map();
    for (const clip of data.clips) this.seen.set(clip.fname, this.stored(clip.fname));
  }

  stored(fname) {
    const text = localStorage.getItem(this.prefix + fname);
    return text ? JSON.parse(text) : data.decisions[fname] || UNDECIDED;
  }

  async decide(fname, decision) {
    const stored = this.stored(fname);
    const isNews = stored.revision !== this.of(fname).revision;
    this.seen.set(fname, stored);
    if (isNews) return false;
    const kept = { ...decision, revision: stored.revision + 1 };
    localStorage.setItem(this.prefix + fname, JSON.stringify(kept));
    this.seen.set(fname, kept);
    return true;
  }

  of(fname) {
    return this.seen.get(fname) || UNDECIDED;
  }

  watch(changed) {
    addEventListener("storage", (event) => {
      if (event.key !== null && !event.key.startsWith(this.prefix)) return;
      for (const clip of data.clips) this.seen.set(clip.fname, this.stored(clip.fname));
      changed();
    });
  }

  // decisions in the table's form: fname,action,labels,why
  table() {
    const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    const rows = [["fname", "action", "labels", "why"]];
    const names = new Set([...Object.keys(data.decisions), ...data.clips.map((clip) => clip.fname)]);
    for (const name of names) {
      const { action, labels, why } = this.stored(name);
      if (action) rows.push([name, action, labels.join(","), why]);
    }
    return rows.map((row) => row.map(cell).join(",") + "\n").join("");
  }
}

const keeper = data.served ? new ServerKeeper() : new BrowserKeeper();

// ---- which clip is shown --------------------------------------------------------------------------------------------

const groups = new Map();
let shown = [];
let place = 0;
const undoable = [];

function makeGroups() {
  const all = data.clips.map((_, i) => i);
  const suspected = all.slice(0, data.n_suspected);
  if (suspected.length) groups.set(`suspected clips`, suspected);
  if (suspected.length < all.length) groups.set("all clips", all);
  const twins = all.filter((i) => data.clips[i].twins.length);
  if (twins.length) groups.set("the same sound, labelled differently", twins);
  const pairs = new Map();
  for (const i of suspected) {
    const { suspicion } = data.clips[i];
    pairs.set(suspicion, [...(pairs.get(suspicion) || []), i]);
  }
  for (const [suspicion, clips] of [...pairs].sort((a, b) => b[1].length - a[1].length)) groups.set(suspicion, clips);
  for (const [name, clips] of groups) $("group").append(new Option(`${name} (${clips.length})`, name));
}

function choose(group) {
  shown = groups.get(group) || [];
  place = 0;
  if ($("skip").checked && shown.length && isDecided(shown[0])) place = undecidedAfter(0) ?? 0;
  load();
}

const clipNow = () => data.clips[shown[place]];
const isDecided = (i) => keeper.of(data.clips[i].fname).action !== null;

function undecidedAfter(from) {
  for (let step = 1; step <= shown.length; step += 1) {
    const other = (from + step) % shown.length;
    if (!isDecided(shown[other])) return other;
  }
  return null;
}

function advance() {
  const next = $("skip").checked ? undecidedAfter(place) : place + 1 < shown.length ? place + 1 : null;
  if (next === null) {
    draw();
    say($("skip").checked ? "All clips here are decided on." : "That was the last clip here.");
  } else {
    place = next;
    load();
  }
}

function move(step) {
  const other = place + step;
  if (other < 0 || other >= shown.length) return;
  place = other;
  load();
}

// ---- drawing ---------------------------------------------------------------------------------------------------------

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function load() {
  say("");
  draw();
  if (!shown.length) return;
  const clip = clipNow();
  $("picture").src = clip.picture;
  $("sound").src = clip.sound;
  if ($("autoplay").checked) play();
}

function draw() {
  const clip = clipNow();
  $("clip").hidden = !clip;
  $("none").hidden = Boolean(clip);
  drawProgress();
  if (!clip) return;
  const decision = keeper.of(clip.fname);
  $("place").textContent = `${place + 1} of ${shown.length}`;
  $("name").textContent = clip.fname;
  $("state").textContent = { keep: "kept", drop: "dropped", relabel: "relabelled" }[decision.action] || "";
  $("state").className = `state ${decision.action || ""}`;
  $("suspicion").textContent = `${clip.suspicion} (quality ${clip.quality.toFixed(2)})`;
  $("twins").textContent = clip.twins.length
    ? `The same sound: ${clip.twins.map((twin) => `${twin.fname} (${twin.labels.join(", ")})`).join("; ")}`
    : "";
  drawGiven(clip, decision);
  drawSuggested(clip);
  $("undo").disabled = !undoable.length;
}

function drawProgress() {
  const decisions = shown.map((i) => keeper.of(data.clips[i].fname).action);
  const n = (action) => decisions.filter((each) => each === action).length;
  const nDone = decisions.filter(Boolean).length;
  $("bar").max = Math.max(1, shown.length);
  $("bar").value = nDone;
  $("count").textContent =
    `${nDone} of ${shown.length} decided: ${n("keep")} kept, ${n("relabel")} relabelled, ${n("drop")} dropped`;
}

function scored({ label, score }, ...more) {
  const bar = element("i");
  bar.style.setProperty("--share", `${Math.round(100 * score)}%`);
  return element(
    "li", {},
    element("span", { className: "label", textContent: label }),
    element("span", { className: "score" }, bar, score.toFixed(2)),
    ...more,
  );
}

function scoreOf(clip, label) {
  const known = [...clip.labels, ...clip.suggested].find((each) => each.label === label);
  return known ? known.score : 0;
}

function drawGiven(clip, decision) {
  const given = clip.labels.map((each) => each.label);
  const labels = labelsNow(clip);
  const added = labels.filter((label) => !given.includes(label)).map((label) => ({ label, score: scoreOf(clip, label) }));
  const rows = [...clip.labels, ...added].map((each) => {
    const row = scored(each);
    if (!labels.includes(each.label) || decision.action === "drop") row.className = "gone";
    else if (!given.includes(each.label)) row.className = "new";
    if (labels.length > 1 && labels.includes(each.label)) {
      const rest = without(labels, each.label);
      row.append(element("button", { textContent: "remove", onclick: () => decide("relabel", rest, false) }));
    }
    return row;
  });
  $("given").replaceChildren(...rows);
}

function drawSuggested(clip) {
  const labels = labelsNow(clip);
  $("suggested").replaceChildren(
    ...clip.suggested.map((each, i) => {
      const instead = element("button", { title: "instead", onclick: () => take(each.label, false) });
      instead.append(element("kbd", { textContent: i + 1 }), " instead");
      const also = element("button", { title: "as well", textContent: "also", onclick: () => take(each.label, true) });
      const row = scored(each, instead, also);
      if (labels.includes(each.label)) row.className = "new";
      return row;
    }),
  );
}

function drawTicks() {
  for (const [share, text] of data.ticks) {
    const tick = element("span", { textContent: text });
    tick.style.bottom = `${100 * share}%`;
    $("ticks").append(tick);
  }
}

function say(text, isError = false) {
  $("status").textContent = text;
  $("status").className = isError ? "error" : "";
}

// ---- deciding --------------------------------------------------------------------------------------------------------

const without = (labels, label) => labels.filter((each) => each !== label);

function labelsNow(clip) {
  const decision = keeper.of(clip.fname);
  return decision.action === "relabel" ? decision.labels : clip.labels.map((each) => each.label);
}

// one at a time, each in view of what the one before has done
let working = Promise.resolve();
function inTurn(work) {
  working = working.then(work).catch((error) => say(`Not saved: ${error.message}. Try again.`, true));
}

async function keepDecision(clip, decision, goOn) {
  const before = keeper.of(clip.fname);
  if (!(await keeper.decide(clip.fname, decision))) {
    load();
    say("Decided on elsewhere in the meantime; this is how it stands now. Decide again to replace it.", true);
    return;
  }
  undoable.push({ fname: clip.fname, before });
  if (goOn) advance();
  else draw();
}

function decide(action, labels = [], goOn = true) {
  inTurn(() => {
    const clip = clipNow();
    return clip && keepDecision(clip, { action, labels, why: "listened to" }, goOn);
  });
}

// a label in the place of the least probable one that the clip has now, or beside all of them
function take(label, isBeside) {
  inTurn(() => {
    const clip = clipNow();
    if (!clip) return null;
    const now = without(labelsNow(clip), label);
    const least = now.reduce((a, b) => (a === null || scoreOf(clip, b) < scoreOf(clip, a) ? b : a), null);
    const labels = isBeside ? [...now, label] : [...without(now, least), label];
    return keepDecision(clip, { action: "relabel", labels, why: "listened to" }, true);
  });
}

function undo() {
  inTurn(async () => {
    const last = undoable.pop();
    if (!last) return;
    const { action, labels, why } = last.before;
    let isKept;
    try {
      isKept = await keeper.decide(last.fname, { action, labels, why });
    } catch (error) {
      undoable.push(last);
      throw error;
    }
    const index = indexOf.get(last.fname);
    if (!shown.includes(index)) choose($("group").value);
    if (shown.includes(index)) place = shown.indexOf(index);
    load();
    if (!isKept) say("Decided on elsewhere in the meantime, so nothing was taken back.", true);
  });
}

// ---- playing ---------------------------------------------------------------------------------------------------------

function play() {
  $("sound").play().catch(() => {
    // browsers play nothing before the first key or click
  });
}

function toggle() {
  if ($("sound").paused) play();
  else $("sound").pause();
}

function followSound() {
  const { currentTime, duration } = $("sound");
  $("playhead").style.left = `${duration ? (100 * currentTime) / duration : 0}%`;
  requestAnimationFrame(followSound);
}

$("seek").addEventListener("click", (event) => {
  const { left, width } = $("seek").getBoundingClientRect();
  if (Number.isFinite($("sound").duration)) $("sound").currentTime = ((event.clientX - left) / width) * $("sound").duration;
  play();
});

// ---- searching -------------------------------------------------------------------------------------------------------

let matches = [];
let chosen = 0;

function openSearch() {
  if (!clipNow()) return;
  $("query").value = "";
  $("dialog").showModal();
  find();
}

function find() {
  const wanted = $("query").value.trim().toLowerCase().replaceAll(/[\s_]+/g, "_");
  const has = labelsNow(clipNow());
  const inside = data.labels.filter((label) => !has.includes(label) && label.toLowerCase().includes(wanted));
  const begins = (label) => !label.toLowerCase().startsWith(wanted);
  matches = inside.sort((a, b) => begins(a) - begins(b));
  chosen = 0;
  drawMatches();
}

function drawMatches() {
  $("matches").replaceChildren(
    ...matches.map((label, i) => {
      const row = element("li", { textContent: label, role: "option", onclick: (event) => pick(i, event.shiftKey) });
      row.setAttribute("aria-selected", String(i === chosen));
      return row;
    }),
  );
  $("matches").children[chosen]?.scrollIntoView({ block: "nearest" });
}

function pick(i, isBeside) {
  if (matches[i] === undefined) return;
  $("dialog").close();
  take(matches[i], isBeside);
}

$("query").addEventListener("input", find);
$("query").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step) {
    chosen = Math.min(matches.length - 1, Math.max(0, chosen + step));
    drawMatches();
  } else if (event.key === "Enter") pick(chosen, event.shiftKey);
  else return;
  event.preventDefault();
});

// ---- keys and buttons ------------------------------------------------------------------------------------------------

const KEYS = {
  " ": toggle,
  k: () => decide("keep"),
  d: () => decide("drop"),
  z: undo,
  "/": openSearch,
  ArrowLeft: () => move(-1),
  ArrowRight: () => move(1),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("dialog").open) return;
  if (event.target.tagName === "SELECT" || (event.target.type === "checkbox" && event.key === " ")) return;
  const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code);
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (digit) {
    const suggestion = clipNow()?.suggested[digit[1] - 1];
    if (suggestion && !event.repeat) take(suggestion.label, event.shiftKey);
  } else if (KEYS[key]) {
    if (!event.repeat) KEYS[key]();
  } else return;
  event.preventDefault();
  event.stopPropagation(); // the player, where it has the focus, would take the key for itself as well
}, { capture: true });

for (const [id, key] of [["keep", "k"], ["drop", "d"], ["search", "/"], ["undo", "z"], ["previous", "ArrowLeft"], ["next", "ArrowRight"]]) {
  $(id).addEventListener("click", (event) => {
    KEYS[key]();
    event.currentTarget.blur(); // so that space plays, and does not press the button again
  });
}
$("group").addEventListener("change", () => {
  choose($("group").value);
  $("group").blur();
});
for (const id of ["skip", "autoplay"]) $(id).addEventListener("change", () => $(id).blur());
$("sound").addEventListener("error", () => say(`${clipNow().fname} cannot be played.`, true));

if (!data.served) {
  $("download").addEventListener("click", (event) => {
    event.preventDefault();
    const address = URL.createObjectURL(new Blob([keeper.table()], { type: "text/csv" }));
    element("a", { href: address, download: "corrections.csv" }).click();
    URL.revokeObjectURL(address);
  });
}

document.title = `${data.run}: audit`;
$("run").textContent = `Audit of ${data.run}`;
drawTicks();
makeGroups();
keeper.watch(draw);
choose($("group").value);
followSound();
