// Sounds in the browser: decoded for pictures, recorded from the microphone, written as WAV.

// Mono samples of a file, or null where the browser does not know its format.
export async function decoded(file) {
  const context = new OfflineAudioContext(1, 1, 44100);
  try {
    const buffer = await context.decodeAudioData(await file.arrayBuffer());
    return { samples: mixed(buffer), rate: buffer.sampleRate, duration: buffer.duration };
  } catch {
    return null;
  }
}

function mixed(buffer) {
  const samples = new Float32Array(buffer.length);
  for (let channel = 0; channel < buffer.numberOfChannels; channel += 1) {
    const own = buffer.getChannelData(channel);
    for (let i = 0; i < own.length; i += 1) samples[i] += own[i] / buffer.numberOfChannels;
  }
  return samples;
}

export function wav(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (place, word) => [...word].forEach((letter, i) => view.setUint8(place + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  for (let i = 0; i < samples.length; i += 1) {
    view.setInt16(44 + 2 * i, 32767 * Math.max(-1, Math.min(1, samples[i])), true);
  }
  return new Blob([view.buffer], { type: "audio/wav" });
}

// What the microphone hears, until `stop` gives it as a WAV file: every server reads that.
export class Recorder {
  async start() {
    const microphone = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    this.stream = await navigator.mediaDevices.getUserMedia({ audio: microphone });
    this.context = new AudioContext();
    await this.context.audioWorklet.addModule(new URL("worklet.js", import.meta.url));
    this.parts = [];
    this.node = new AudioWorkletNode(this.context, "keeper", { numberOfOutputs: 0 });
    this.node.port.onmessage = ({ data }) => this.parts.push(data);
    this.context.createMediaStreamSource(this.stream).connect(this.node);
  }

  get seconds() {
    return this.parts.reduce((sum, part) => sum + part.length, 0) / this.context.sampleRate;
  }

  async stop() {
    for (const track of this.stream.getTracks()) track.stop();
    const samples = new Float32Array(this.parts.reduce((sum, part) => sum + part.length, 0));
    let place = 0;
    for (const part of this.parts) {
      samples.set(part, place);
      place += part.length;
    }
    await this.context.close();
    return samples.length ? wav(samples, this.context.sampleRate) : null;
  }
}
