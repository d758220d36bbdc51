//! smoltcp for actors: TCP sockets that await.
