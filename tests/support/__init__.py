"""What tests share: the worlds that they act in, and small tools."""
