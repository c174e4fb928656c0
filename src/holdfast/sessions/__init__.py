"""Asking `holdfast-sessiond`: the words that go over its socket, and the client that says them."""
