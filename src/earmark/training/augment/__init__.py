"""What is done to what is learned from, by the batch, on the device where the network is."""
