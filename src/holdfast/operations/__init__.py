"""The verbs; they use ports only, never their implementations."""
