"""What a release consists of, built twice with the same bytes: `scripts/release`."""
