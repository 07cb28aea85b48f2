//! `ResizePty` and `CloseIO`.

use containerd_shim_protos::api::{CloseIORequest, ResizePtyRequest};
use rustix::termios::{Winsize, tcsetwinsize};

use super::{Answer, Handled};
use crate::shim::Shim;
use crate::ttrpc::{Code, Status};

impl Shim {
    pub(super) fn resize_pty(&mut self, request: &ResizePtyRequest) -> Handled {
        let process = self.container(&request.id)?.process(&request.exec_id)?;
        let size = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
        let (ws_row, ws_col) = (size(request.height), size(request.width));
        // Without a terminal there is nothing to do; clients do not always know.
        if let Some(console) = &process.held.console {
            tcsetwinsize(console, Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 })
                .map_err(|errno| Status::new(Code::UNKNOWN, format!("ioctl(TIOCSWINSZ): {errno}")))?;
        }
        Ok(Answer::Now(Vec::new()))
    }

    pub(super) fn close_io(&mut self, request: &CloseIORequest) -> Handled {
        let process = self.container(&request.id)?.process_mut(&request.exec_id)?;
        if request.stdin {
            // The input ends when its other writers, containerd's clients, have closed it too.
            process.held.input = None;
        }
        Ok(Answer::Now(Vec::new()))
    }
}
