//! Calls that receive for a long time, and looks that come meanwhile: never more is told than was there.

use super::scenarios::{BASE, Scenario};

pub(crate) const ROWS: &[Scenario] = &[
    Scenario {
        what: "TCP: recv() of 100000 with MSG_WAITALL, fed 50000 every 2 s",
        near: "s = tcp(); send(s, 1); send(s, 1); assert received(len(s.recv(100000, socket.MSG_WAITALL))) == 100000\n\
               result(raddr=FAR4, rport=PORT)",
        far: "c, _ = listen(FAR4).accept(); recv(c, 2); feed(c, 50000); time.sleep(2); feed(c, 50000); wait()",
        ..BASE
    },
    Scenario {
        what: "TCP: recv() of 200000 with MSG_WAITALL, ended by a FIN after 100000",
        near: "s = tcp(); send(s, 1); send(s, 1); assert received(len(s.recv(200000, socket.MSG_WAITALL))) == 100000\n\
               result(raddr=FAR4, rport=PORT)",
        far: "c, _ = listen(FAR4).accept(); recv(c, 2); feed(c, 50000); time.sleep(2); feed(c, 50000); c.close(); wait()",
        ..BASE
    },
];
