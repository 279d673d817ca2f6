"""Names that vulture cannot see the use of, each with why; `make lint` reads this file."""
# ruff: noqa: B018, F821

_.l0  # a property of the public AttackResult, beside linf, l2 and l1
__getattr__  # PEP 562: Python calls it for public names that are imported on first use
_.extra_repr  # torch calls it to show a module
_.find_class  # pickle.Unpickler calls it
_.thread_count  # PyAV reads it from the codec context
_.pix_fmt  # PyAV reads it from the stream
run_attack  # run/main.py imports jobs by name
run_decode  # likewise
run_encode  # likewise
run_detect  # likewise
run_evaluate  # likewise
run_explain  # likewise
run_fit  # likewise
run_network  # likewise
run_report  # likewise
run_representation  # likewise
run_rounds  # likewise
run_runs  # likewise
_.num_batches_tracked  # torch's BatchNorm reads it
retrain_epochs  # a flag: `fit_flags` takes the names of retraining by their prefix
retrain_method  # likewise
retrain_lr  # likewise
retrain_weight_decay  # likewise
_.prose  # the templates read it, and those that follow
_.meanings
_.number
_.range
_.empty
_.over
_.verdict
_.folded
_.histogram  # of the public Dissection, for the chart of its detectors
_.ece  # `asdict` puts it into summary.json
_.adaptive_ece  # likewise
population  # an option of fooling images, which reads it by name
_scalar  # tyro calls it, as a rule of the registry
_.deterministic  # cuDNN reads it
_.handleError  # logging calls it
_.daemon_threads  # socketserver reads it
_.server_name  # http.server reads it
_.handle_error  # socketserver calls it
client_address  # its argument
_.protocol_version  # http.server reads it
_.server_version  # likewise
_.sys_version  # likewise
_.timeout  # socketserver reads it
_.do_GET  # http.server calls it
_.do_POST  # likewise
_.log_message  # likewise
_.bar_format  # tqdm reads it of its bars
_.ncols  # likewise
