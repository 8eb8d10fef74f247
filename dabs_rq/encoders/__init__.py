"""One file per encoder; `dabs_rq.registry` finds them. `dabs_rq.encoders.base` defines the interface."""
