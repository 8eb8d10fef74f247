"""One file per pretraining method; `dabs_rq.registry` finds them. `dabs_rq.methods.base` defines the interface."""
