//! 9P2000.L codec, async server engine and client, without an allocator in the path.
