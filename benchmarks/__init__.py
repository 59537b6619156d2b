"""Speed and memory of the network from scratch beside its peers, measured side by side."""
