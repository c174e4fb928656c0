"""Throw-away machines in qemu: what containers cannot prove, on a kernel of their own."""
