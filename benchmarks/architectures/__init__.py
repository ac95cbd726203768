"""What Graft reads out of exported networks, beside what the networks themselves say."""
