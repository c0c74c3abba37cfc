// Scores over time: what is marked, and as which files it is given away.

// Where each window's time ends and the next one's begins: between their centres.
export function bounds({ starts_s: starts, ends_s: ends }) {
  const centres = starts.map((start, i) => (start + ends[i]) / 2);
  return [starts[0], ...centres.slice(1).map((centre, i) => (centres[i] + centre) / 2), ends[ends.length - 1]];
}

// Stretches of a label in which its score is no less than a limit.
export function marked(timeline, lane, least) {
  const edges = bounds(timeline);
  const found = [];
  timeline.scores[lane].forEach((score, i) => {
    if (score < least) return;
    const last = found[found.length - 1];
    if (last && last.end === edges[i]) {
      last.end = edges[i + 1];
      last.score = Math.max(last.score, score);
    } else {
      found.push({ label: timeline.labels[lane], start: edges[i], end: edges[i + 1], score });
    }
  });
  return found;
}

export function allMarked(timeline, least) {
  const all = timeline.labels.flatMap((_, lane) => marked(timeline, lane, least));
  return all.sort((a, b) => a.start - b.start || b.score - a.score);
}

// A spreadsheet would take what begins so for a formula.
const harmless = (text) => (/^[=+\-@\t\r]/.test(text) ? `'${text}` : text);
const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

export function csv(name, stretches) {
  const rows = stretches.map((s) => [cell(harmless(name)), s.start.toFixed(3), s.end.toFixed(3), cell(s.label), s.score.toFixed(4)]);
  return [["path", "start_s", "end_s", "tag", "score"], ...rows].map((row) => `${row.join(",")}\n`).join("");
}

export function audacity(stretches) {
  return stretches.map((s) => `${s.start.toFixed(6)}\t${s.end.toFixed(6)}\t${s.label} ${s.score.toFixed(2)}\n`).join("");
}
