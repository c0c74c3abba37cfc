"""Sound to picture: decoding, log-mel spectrograms, images, synthesis."""
