// The page: a list of sounds, and one of them with its tags, its pictures and its lanes.

import { models, tag, Refused } from "./api.js";
import { decoded, Recorder, wav } from "./audio.js";
import { drawSpectrogram, drawWave, ticks } from "./picture.js";
import { allMarked, audacity, bounds, csv, marked } from "./timeline.js";

const N_TAGS = 5;
const N_LANES = 8;
const N_FAINT_LANES = 3;
const FAINT = 0.05;
const STEP_S = 1;

const $ = (id) => document.getElementById(id);
const player = $("player");
const sounds = [];
const state = { shown: null, limits: null, recorder: null, token: sessionStorage.getItem("token") || "" };
let work = Promise.resolve();

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

const say = (text) => ($("status").textContent = text);
const warn = (text) => ($("alert").textContent = text);
const readable = (label) => label.replaceAll("_", " ");
const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
const accent = () => getComputedStyle(document.body).getPropertyValue("--accent");
const megabytes = (bytes) => (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0);

// ---- the server ---------------------------------------------------------------------------------------------------

async function greet() {
  try {
    const said = await models(state.token);
    state.limits = said.limits;
    const [model] = said.models;
    $("model").textContent = `names ${model.labels.length} kinds of sounds`;
    const { max_body_bytes: bytes, max_duration_s: seconds } = state.limits;
    $("limits").textContent = `Up to ${megabytes(bytes)} MB and ${seconds < 120 ? `${seconds} seconds` : `${Math.floor(seconds / 60)} minutes`} a sound. Nothing is kept.`;
    warn("");
  } catch (error) {
    if (error.kind === "unauthorized") $("token-field").hidden = false;
    warn(error.message);
  }
}

$("token-field").addEventListener("submit", (event) => {
  event.preventDefault();
  state.token = $("token").value.trim();
  sessionStorage.setItem("token", state.token);
  greet();
});

// ---- sounds that come ---------------------------------------------------------------------------------------------

function add(file, name = file.name) {
  const sound = { file, name, url: URL.createObjectURL(file), said: "waiting", error: "", answer: null, heard: null };
  sounds.push(sound);
  drawList();
  show(sound);
  // one after the other: the server's other guests want to be heard too
  work = work.then(() => listen(sound));
}

async function listen(sound) {
  update(sound, { said: "listening …" });
  try {
    const most = state.limits?.max_body_bytes ?? Infinity;
    if (sound.file.size > most) {
      throw new Refused(
        `This file has ${megabytes(sound.file.size)} MB, and the server takes at most ${megabytes(most)} MB. ` +
          "Cut it, or save it as MP3, Ogg or FLAC.",
      );
    }
    sound.heard = await decoded(sound.file);
    update(sound, { answer: await tagged(sound), said: "" });
    const [best] = sound.answer.tags;
    say(`${sound.name}: ${readable(best.label)}, score ${best.score.toFixed(2)}`);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.kind === "unauthorized") $("token-field").hidden = false;
    update(sound, { error: error.message, said: "" });
    warn(`${sound.name}: ${error.message}`);
  }
}

// What the server cannot read and the browser can is sent as the browser decoded it.
async function tagged(sound) {
  const query = { top_k: Math.min(N_LANES, state.limits?.max_labels ?? N_LANES), timeline: true };
  try {
    return await tag(sound.file, query, state.token);
  } catch (error) {
    if (error.kind !== "unreadable-recording" || !sound.heard) throw error;
    return tag(wav(sound.heard.samples, sound.heard.rate), query, state.token);
  }
}

function update(sound, news) {
  Object.assign(sound, news);
  drawList();
  if (sound === state.shown) draw();
}

$("choose").addEventListener("click", () => $("files").click());
$("files").addEventListener("change", () => {
  warn("");
  for (const file of $("files").files) add(file);
  $("files").value = "";
});

addEventListener("dragover", (event) => {
  event.preventDefault();
  $("drop").classList.add("over");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("drop").classList.remove("over");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  warn(event.dataTransfer.files.length ? "" : "That was no file. Drop sounds from a folder.");
  for (const file of event.dataTransfer.files) add(file);
});

$("record").addEventListener("click", () => (state.recorder ? endRecording() : beginRecording()));

async function beginRecording() {
  const recorder = new Recorder();
  try {
    await recorder.start();
  } catch (error) {
    const allowed = error.name === "NotAllowedError" ? "The browser was not allowed to use the microphone." : "No microphone was found.";
    warn(navigator.mediaDevices ? allowed : "Browsers give the microphone to secure pages alone (https, or localhost).");
    return;
  }
  warn("");
  state.recorder = recorder;
  $("record").setAttribute("aria-pressed", "true");
  const tell = () => {
    $("record").textContent = `Stop recording (${clock(recorder.seconds)})`;
    if (recorder.seconds > (state.limits?.max_duration_s ?? Infinity) - 1) endRecording();
  };
  tell();
  recorder.timer = setInterval(tell, 250);
}

async function endRecording() {
  const { recorder } = state;
  if (!recorder) return;
  state.recorder = null;
  clearInterval(recorder.timer);
  $("record").setAttribute("aria-pressed", "false");
  $("record").textContent = "Record";
  const content = await recorder.stop();
  if (!content) return warn("Nothing was recorded.");
  const number = sounds.filter((sound) => sound.isRecorded).length + 1;
  add(content, `recording ${number}.wav`);
  sounds[sounds.length - 1].isRecorded = true;
}

// ---- drawing ------------------------------------------------------------------------------------------------------

function drawList() {
  $("work").hidden = !sounds.length;
  $("work").classList.toggle("single", sounds.length === 1);
  $("list").replaceChildren(...sounds.map((sound) => {
    const best = sound.answer?.tags[0];
    const below = element("span", { textContent: sound.said || (sound.error ? "not tagged" : readable(best.label)) });
    const button = element("button", { onclick: () => show(sound) }, sound.name, below);
    if (sound === state.shown) button.setAttribute("aria-current", "true");
    return element("li", { className: sound.error ? "failed" : "" }, button);
  }));
}

function show(sound) {
  state.shown = sound;
  player.src = sound.url;
  drawList();
  draw();
}

function draw() {
  const { name, said, error, answer, heard } = state.shown;
  $("name").textContent = name;
  const unseen = answer && !heard ? "This browser cannot play or draw this kind of file; its tags are all the same." : "";
  $("said").textContent = error || said || unseen;
  $("said").className = error ? "error" : "faint";
  $("result").hidden = !answer;
  if (!answer) return;
  player.hidden = $("seek").hidden = !heard;
  $("tags").replaceChildren(...answer.tags.slice(0, N_TAGS).map(({ label, score }) =>
    element("li", {},
      element("span", { textContent: readable(label) }),
      element("meter", { min: 0, max: 1, value: score, ariaHidden: "true" }),
      element("span", { className: "score", textContent: score.toFixed(2) }))));
  if (heard) drawPictures(heard);
  drawTimes(answer.duration_s);
  drawLanes();
  follow();
}

function drawPictures({ samples, rate }) {
  drawWave($("wave"), samples, accent());
  drawSpectrogram($("spectrogram"), samples, rate);
  $("ticks").replaceChildren(...ticks(rate).map(([share, text]) => {
    const tick = element("span", { textContent: text });
    tick.style.bottom = `${100 * share}%`;
    return tick;
  }));
}

function drawTimes(duration) {
  const n = innerWidth < 700 ? 4 : 8;
  $("times").replaceChildren(...Array.from({ length: n + 1 }, (_, i) => {
    const time = element("span", { textContent: duration < 20 ? `${((duration * i) / n).toFixed(1)} s` : clock((duration * i) / n) });
    time.style.left = `${(100 * i) / n}%`;
    return time;
  }));
}

const least = () => Number($("least").value);

function drawLanes() {
  const { timeline, duration_s: duration } = state.shown.answer;
  // the likeliest are always there; others, when something of them can be seen
  const shown = timeline.labels.filter((_, lane) => lane < N_FAINT_LANES || Math.max(...timeline.scores[lane]) >= FAINT);
  $("lanes").replaceChildren(...shown.map((label, lane) => {
    const track = element("div", { className: "track" }, heat(timeline, lane, duration));
    track.addEventListener("click", (event) => playFrom(shareOf(event, track) * duration));
    for (const each of marked(timeline, lane, least())) track.append(stretch(each, duration));
    return element("div", { className: "lane" }, element("span", { className: "label", textContent: readable(label) }), track);
  }));
  const n = allMarked(timeline, least()).length;
  $("csv").disabled = $("audacity").disabled = !n;
  $("least-said").textContent = least().toFixed(2);
}

function heat(timeline, lane, duration) {
  const canvas = element("canvas", { width: 800, height: 1 });
  const context = canvas.getContext("2d");
  const edges = bounds(timeline);
  context.fillStyle = accent();
  timeline.scores[lane].forEach((score, i) => {
    context.globalAlpha = 0.8 * score;
    const [from, to] = [edges[i], edges[i + 1]].map((time) => Math.round((800 * time) / duration));
    context.fillRect(from, 0, to - from, 1);
  });
  canvas.ariaHidden = "true";
  return canvas;
}

function stretch({ label, start, end, score }, duration) {
  const text = `${readable(label)}, ${start.toFixed(1)} to ${end.toFixed(1)} seconds, score ${score.toFixed(2)}`;
  const button = element("button", { title: text, ariaLabel: `play ${text}` });
  button.style.left = `${(100 * start) / duration}%`;
  button.style.width = `${(100 * (end - start)) / duration}%`;
  button.addEventListener("click", (event) => {
    // a key has no place: it plays from the beginning
    if (event.detail === 0) {
      event.stopPropagation();
      playFrom(start);
    }
  });
  return button;
}

// ---- playing ------------------------------------------------------------------------------------------------------

function shareOf(event, box) {
  const { left, width } = box.getBoundingClientRect();
  return Math.max(0, Math.min(0.999, (event.clientX - left) / width));
}

function playFrom(seconds) {
  if (!state.shown?.heard) return;
  player.currentTime = seconds;
  player.play().catch(() => {}); // replaced by another sound before it began
  follow();
}

function follow() {
  const duration = state.shown?.answer?.duration_s;
  if (!duration) return;
  const share = Math.min(1, player.currentTime / duration);
  const { left, width } = $("lanes").lastElementChild?.lastElementChild.getBoundingClientRect() ?? $("seek").getBoundingClientRect();
  $("playhead").style.left = `${left - $("stack").getBoundingClientRect().left + share * width}px`;
  $("playhead").hidden = !state.shown.heard;
  $("seek").setAttribute("aria-valuemax", duration.toFixed(1));
  $("seek").setAttribute("aria-valuenow", player.currentTime.toFixed(1));
  $("seek").setAttribute("aria-valuetext", `${player.currentTime.toFixed(1)} of ${duration.toFixed(1)} seconds`);
  if (!player.paused) requestAnimationFrame(follow);
}

for (const event of ["play", "seeked", "pause", "loadedmetadata"]) player.addEventListener(event, follow);
$("seek").addEventListener("click", (event) => playFrom(shareOf(event, $("seek")) * state.shown.answer.duration_s));
$("seek").addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -STEP_S, ArrowDown: -STEP_S, ArrowRight: STEP_S, ArrowUp: STEP_S }[event.key];
  if (step) player.currentTime = Math.max(0, player.currentTime + step);
  else if (event.key === "Home") player.currentTime = 0;
  else if (event.key === "End") player.currentTime = player.duration;
  else return;
  event.preventDefault();
});

addEventListener("keydown", (event) => {
  if (event.key !== " " || event.target.closest("button, input, audio") || !state.shown?.heard) return;
  event.preventDefault();
  if (player.paused) player.play();
  else player.pause();
});

// ---- what is taken along ------------------------------------------------------------------------------------------

function download(name, text, type) {
  const link = element("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const stem = () => state.shown.name.replace(/\.[^.]*$/, "");
const stretches = () => allMarked(state.shown.answer.timeline, least());
$("csv").addEventListener("click", () => download(`${stem()}.csv`, csv(state.shown.name, stretches()), "text/csv"));
$("audacity").addEventListener("click", () => download(`${stem()}.txt`, audacity(stretches()), "text/plain"));
$("least").addEventListener("input", drawLanes);

let resized;
addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(() => state.shown && draw(), 150);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => state.shown && draw());

greet();
