"""One file per encoder; `dabs_rq.registry` finds them. `dabs_rq.encoders.base` says what an encoder is."""
