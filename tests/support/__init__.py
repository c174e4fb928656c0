"""What tests share: jobs, servers and clusters, in memory or real, and small tools."""
