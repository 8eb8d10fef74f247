"""One decode path per kind of file, shared by every domain."""
