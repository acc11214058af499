// SPDX-License-Identifier: GPL-3.0-or-later
//! Questions whose answers may take seconds, asked by threads that are there while there are any.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use leco_os::bell::Bell;

/// Name services are modules of others, which need their room.
const STACK_BYTES: usize = 256 << 10;

/// Asks questions, so many at the same time.
pub(crate) struct Asker<Q, A> {
    name: &'static str,
    threads: usize,
    limit: usize,
    ask: Arc<dyn Fn(&Q) -> A + Send + Sync>,
    waiting: Arc<Mutex<Waiting<Q>>>,
    answer: Sender<(Q, A)>,
    answers: Receiver<(Q, A)>,
    bell: Bell,
    /// Questions whose answers were not taken yet.
    open: usize,
}

#[derive(Debug)]
struct Waiting<Q> {
    questions: VecDeque<Q>,
    threads: usize,
}

impl<Q: Send + 'static, A: Send + 'static> Asker<Q, A> {
    /// By so many threads of this name, so that one slow answer does not hold up the others; no more questions than
    /// `limit` are open.
    pub(crate) fn new(
        name: &'static str,
        threads: usize,
        limit: usize,
        bell: &Bell,
        ask: impl Fn(&Q) -> A + Send + Sync + 'static,
    ) -> Self {
        let (answer, answers) = mpsc::channel();
        let waiting = Arc::new(Mutex::new(Waiting { questions: VecDeque::new(), threads: 0 }));
        Self {
            name,
            threads,
            limit,
            ask: Arc::new(ask),
            waiting,
            answer,
            answers,
            bell: bell.clone(),
            open: 0,
        }
    }

    #[cfg(test)]
    pub(crate) fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Asks, and does not wait; `false` where too much is asked already, or there is no thread to be had.
    pub(crate) fn ask(&mut self, question: Q) -> bool {
        if self.open >= self.limit {
            return false;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.questions.push_back(question);
        if waiting.threads < self.threads {
            if self.start().is_ok() {
                waiting.threads += 1;
            } else if waiting.threads == 0 {
                waiting.questions.pop_back();
                return false;
            }
        }
        self.open += 1;
        true
    }

    fn start(&self) -> io::Result<()> {
        let (ask, waiting) = (Arc::clone(&self.ask), Arc::clone(&self.waiting));
        let (answer, bell) = (self.answer.clone(), self.bell.clone());
        let thread = thread::Builder::new().name(self.name.into()).stack_size(STACK_BYTES);
        let work = move || {
            loop {
                let question = {
                    let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
                    let Some(question) = waiting.questions.pop_front() else {
                        waiting.threads -= 1;
                        return;
                    };
                    question
                };
                let answered = ask(&question);
                // The caller may be gone.
                if answer.send((question, answered)).is_err() {
                    return;
                }
                bell.ring();
            }
        };
        thread.spawn(work).map(drop)
    }

    /// An answer that is there.
    pub(crate) fn take(&mut self) -> Option<(Q, A)> {
        let answer = self.answers.try_recv().ok()?;
        self.open = self.open.saturating_sub(1);
        Some(answer)
    }

    /// An answer that comes within this time, where one is open.
    pub(crate) fn wait(&mut self, patience: Duration) -> Option<(Q, A)> {
        if self.open == 0 {
            return None;
        }
        let answer = match Instant::now().checked_add(patience) {
            Some(_) => self.answers.recv_timeout(patience).ok(),
            None => self.answers.recv().ok(),
        }?;
        self.open -= 1;
        Some(answer)
    }

    /// Questions whose answers were not taken yet.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// Becomes readable when there are answers.
    pub(crate) fn bell(&self) -> &Bell {
        &self.bell
    }
}

impl<Q: fmt::Debug, A> fmt::Debug for Asker<Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asker")
            .field("name", &self.name)
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_there_while_there_are_questions() {
        let (go_on, held) = mpsc::channel::<()>();
        let held = Mutex::new(held);
        let bell = Bell::new().unwrap();
        let mut asker = Asker::new("asker-test", 1, 3, &bell, move |question: &u32| {
            held.lock().unwrap().recv().unwrap();
            question * 2
        });
        let threads = || {
            let names = std::fs::read_dir("/proc/self/task").unwrap();
            let names = names.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
            names.filter(|name| name.trim_end() == "asker-test").count()
        };
        assert!(asker.ask(1) && asker.ask(2) && asker.ask(3));
        assert!(!asker.ask(4), "no more at once");
        assert_eq!(asker.take(), None);
        assert_eq!(asker.wait(Duration::from_millis(1)), None);
        for expected in [(1, 2), (2, 4), (3, 6)] {
            go_on.send(()).unwrap();
            assert_eq!(asker.wait(Duration::MAX), Some(expected));
        }
        assert_eq!((asker.open(), asker.wait(Duration::MAX)), (0, None));
        let start = Instant::now();
        while threads() > 0 {
            assert!(start.elapsed() < Duration::from_secs(20), "the thread ends");
            thread::yield_now();
        }
        go_on.send(()).unwrap();
        assert!(asker.ask(5));
        assert_eq!(asker.wait(Duration::MAX), Some((5, 10)), "another one is there");
    }
}
