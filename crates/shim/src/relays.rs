//! Streams that are relayed: the shim's pumps, and what it watches for them.

use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;

use crate::io::pump::{Pump, State};
use crate::poll::Token;
use crate::shim::Shim;

/// How often a terminal that no process has open is looked at again.
const HUNG_UP_RETRY: Duration = Duration::from_millis(50);

impl Shim {
    /// Relays a stream; gives the number to end it by.
    pub(crate) fn add_pump(&mut self, pump: Pump) -> u32 {
        let number = self.number();
        self.pumps.insert(number, pump);
        self.serve_pump(number);
        number
    }

    pub(crate) fn serve_pump(&mut self, number: u32) {
        if let Some(pump) = self.pumps.get_mut(&number) {
            pump.run();
            self.watch_pump(number);
        }
    }

    fn watch_pump(&mut self, number: u32) {
        let Some(pump) = self.pumps.get(&number) else { return };
        for (token, (fd, flags)) in [(Token::Source(number), pump.source()), (Token::Sink(number), pump.sink())] {
            self.poll.watch(token, fd, flags);
        }
        match pump.state() {
            State::Done => drop(self.pumps.remove(&number)),
            State::HungUp => self.hung_up_until = Some(Instant::now() + HUNG_UP_RETRY),
            State::Reading | State::Writing => {}
        }
    }

    pub(crate) fn retry_hung_up(&mut self, now: Instant) {
        if self.hung_up_until.is_none_or(|at| at > now) {
            return;
        }
        self.hung_up_until = None;
        let hung_up = |(number, pump): (&u32, &Pump)| (pump.state() == State::HungUp).then_some(*number);
        let numbers: Vec<u32> = self.pumps.iter().filter_map(hung_up).collect();
        numbers.into_iter().for_each(|number| self.serve_pump(number));
    }

    /// Nothing more will come: relays what is left.
    pub(crate) fn finish_pump(&mut self, number: u32) {
        if let Some(pump) = self.pumps.get_mut(&number) {
            pump.finish();
            self.watch_pump(number);
        }
    }

    /// Gives up what is left.
    pub(crate) fn drop_pump(&mut self, number: u32) {
        if let Some(pump) = self.pumps.remove(&number) {
            self.poll.watch(Token::Source(number), pump.source().0, EventFlags::empty());
            self.poll.watch(Token::Sink(number), pump.sink().0, EventFlags::empty());
        }
    }
}
