"""What holds folders: the disk, and the bucket services; one module for each kind.

`airlift.storage` is what others use; it finds the kind by the address.
"""
