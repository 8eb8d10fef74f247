"""One file per pretraining method; `dabs_rq.registry` finds them by name. `dabs_rq.method` says what a method is."""
