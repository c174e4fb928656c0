"""What commands print: documents for machines, tables for people, a bar while work goes on."""
