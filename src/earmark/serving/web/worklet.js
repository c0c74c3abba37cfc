// In the audio thread: hands on what the microphone gives, its channels averaged, a tenth of a second at a time.

class Keeper extends AudioWorkletProcessor {
  constructor() {
    super();
    this.held = new Float32Array(4096);
    this.n = 0;
  }

  process([channels]) {
    if (!channels.length) return true;
    for (let i = 0; i < channels[0].length; i += 1) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      this.held[this.n] = sum / channels.length;
      this.n += 1;
      if (this.n === this.held.length) {
        this.port.postMessage(this.held.slice());
        this.n = 0;
      }
    }
    return true;
  }
}

registerProcessor("keeper", Keeper);
