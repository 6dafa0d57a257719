"""Who pays: pages are counted on the node, charged once per job at the site's prices, and reported.

backend.py and count/ are copied to each node and run there; the rest runs in the controller and the command line.
"""
