"""Throw-away hosts for the demo and the tests, described by nothing but an Ansible inventory."""
