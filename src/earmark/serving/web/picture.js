// Pictures of samples: the waveform, and a mel spectrogram.

const N_FFT = 2048;
const N_ROWS = 160;
const LOWEST_HZ = 40;
const SHOWN_DB = 70;
const TRANSFORMS_PER_COLUMN = 4;
const TICKS_HZ = [500, 2000, 5000, 10000, 20000];

const mel = (hz) => 2595 * Math.log10(1 + hz / 700);
const hz = (m) => 700 * (10 ** (m / 2595) - 1);
const highest = (rate) => Math.min(rate / 2, 20000);

// Share of the picture's height at which frequencies lie.
export function ticks(rate) {
  const [low, high] = [mel(LOWEST_HZ), mel(highest(rate))];
  const said = (tick) => (tick >= 1000 ? `${tick / 1000} kHz` : `${tick} Hz`);
  return TICKS_HZ.map((tick) => [(mel(tick) - low) / (high - low), said(tick)]).filter(([share]) => share > 0.03 && share < 0.97);
}

export function drawWave(canvas, samples, colour) {
  const context = sized(canvas, 128);
  const { width, height } = canvas;
  const per = samples.length / width;
  let peak = 1e-6;
  for (let i = 0; i < samples.length; i += 1) peak = Math.max(peak, Math.abs(samples[i]));
  context.fillStyle = colour;
  for (let x = 0; x < width; x += 1) {
    let low = 0;
    let high = 0;
    for (let i = Math.floor(x * per); i < Math.min(samples.length, (x + 1) * per); i += 1) {
      low = Math.min(low, samples[i]);
      high = Math.max(high, samples[i]);
    }
    const top = (height / 2) * (1 - (0.95 * high) / peak);
    context.fillRect(x, top, 1, Math.max(1, (0.95 * (high - low) * height) / 2 / peak));
  }
}

export function drawSpectrogram(canvas, samples, rate) {
  const context = sized(canvas, N_ROWS);
  const { width } = canvas;
  const columns = Array.from({ length: width }, (_, x) => column(samples, rate, (x * samples.length) / width, samples.length / width));
  let loudest = -Infinity;
  for (const each of columns) for (const value of each) loudest = Math.max(loudest, value);
  const image = context.createImageData(width, N_ROWS);
  columns.forEach((each, x) => {
    each.forEach((value, row) => {
      const share = Math.max(0, 1 + (value - loudest) / SHOWN_DB);
      const place = 4 * ((N_ROWS - 1 - row) * width + x);
      image.data.set(colourOf(share), place);
      image.data[place + 3] = 255;
    });
  });
  context.putImageData(image, 0, 0);
}

function sized(canvas, height) {
  canvas.width = Math.max(300, Math.min(1200, Math.round(canvas.clientWidth)));
  canvas.height = height;
  return canvas.getContext("2d");
}

const hann = Float32Array.from({ length: N_FFT }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / N_FFT));

// The loudest of some transforms within a column, in dB a row.
function column(samples, rate, start, length) {
  const rows = new Float32Array(N_ROWS).fill(-200);
  const n = Math.max(1, Math.min(TRANSFORMS_PER_COLUMN, Math.round(length / (N_FFT / 2))));
  for (let k = 0; k < n; k += 1) {
    const power = powerAt(samples, Math.round(start + ((k + 0.5) * length) / n - N_FFT / 2));
    bands(rate).forEach(([first, stop], row) => {
      let most = 0;
      for (let bin = first; bin < stop; bin += 1) most = Math.max(most, power[bin]);
      rows[row] = Math.max(rows[row], 10 * Math.log10(most + 1e-20));
    });
  }
  return rows;
}

const known = new Map();

function bands(rate) {
  if (!known.has(rate)) {
    const [low, high] = [mel(LOWEST_HZ), mel(highest(rate))];
    const bin = (row) => (hz(low + ((high - low) * row) / N_ROWS) * N_FFT) / rate;
    known.set(rate, Array.from({ length: N_ROWS }, (_, row) => {
      const first = Math.min(N_FFT / 2 - 1, Math.floor(bin(row)));
      return [first, Math.min(N_FFT / 2, Math.max(first + 1, Math.ceil(bin(row + 1))))];
    }));
  }
  return known.get(rate);
}

const re = new Float32Array(N_FFT);
const im = new Float32Array(N_FFT);
const turns = Array.from({ length: N_FFT / 2 }, (_, i) => [Math.cos((2 * Math.PI * i) / N_FFT), -Math.sin((2 * Math.PI * i) / N_FFT)]);
const cosines = Float32Array.from(turns, ([c]) => c);
const sines = Float32Array.from(turns, ([, s]) => s);
const mirrored = Uint16Array.from({ length: N_FFT }, (_, i) => parseInt(i.toString(2).padStart(Math.log2(N_FFT), "0").split("").reverse().join(""), 2));

// Power of each bin around a place, by Cooley and Tukey's transform, in place.
function powerAt(samples, start) {
  for (let i = 0; i < N_FFT; i += 1) {
    re[mirrored[i]] = (samples[start + i] || 0) * hann[i];
    im[i] = 0;
  }
  for (let half = 1; half < N_FFT; half *= 2) {
    const step = N_FFT / 2 / half;
    for (let block = 0; block < N_FFT; block += 2 * half) {
      for (let k = 0; k < half; k += 1) {
        const [a, b] = [block + k, block + k + half];
        const real = re[b] * cosines[k * step] - im[b] * sines[k * step];
        const imaginary = re[b] * sines[k * step] + im[b] * cosines[k * step];
        re[b] = re[a] - real;
        im[b] = im[a] - imaginary;
        re[a] += real;
        im[a] += imaginary;
      }
    }
  }
  return re.map((value, i) => value * value + im[i] * im[i]);
}

const STOPS = [[0, 0, 6], [45, 17, 92], [122, 31, 120], [195, 62, 98], [245, 124, 60], [252, 194, 100], [252, 253, 200]];

export function colourOf(share) {
  const place = Math.min(0.9999, share) * (STOPS.length - 1);
  const i = Math.floor(place);
  return STOPS[i].map((from, c) => Math.round(from + (place - i) * (STOPS[i + 1][c] - from)));
}
