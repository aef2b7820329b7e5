//! Store requests on behalf of the rules: reading and trimming epoch logs, sealing a journal, fetching journals, packs and
//! single states, watching whether the store fails or is lost.
//!
//! Imports [`crate::transport`], [`crate::api`] and, for one line per planted bug, [`crate::planted`].

pub(crate) mod cluster_object;
pub(crate) mod epoch_log;
pub(crate) mod fetch;
pub(crate) mod journal_end;
pub(crate) mod keep;
pub(crate) mod kind_records;
pub(crate) mod log_reader;
pub(crate) mod log_trim;
pub(crate) mod loss;
pub(crate) mod remains;
pub(crate) mod sealer;
pub(crate) mod source;
pub(crate) mod state_reader;
pub(crate) mod store_watch;
