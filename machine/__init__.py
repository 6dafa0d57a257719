"""What the operating system says and does for all the others: processes, files, ports, programs.

It knows nothing of printing.
"""
