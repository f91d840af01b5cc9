package control

import (
	pb "github.com/proctord/proctor/actors/control/proctorv1"
	"github.com/proctord/proctor/messages"
)

// What has been, as it travels: both directions of what records say.

func encodeRun(r *messages.Run) *pb.Run {
	return &pb.Run{
		Id: text(r.ID), Instance: text(r.Instance), Incarnation: r.Incarnation, Pid: uint32(r.PID),
		StartedAt: encodeTime(r.StartedAt), Trigger: pb.RunTrigger(r.Trigger + 1), StartedBy: text(r.StartedBy),
		Binary: text(r.Binary), BinarySha256: text(r.BinarySHA256), ConfigSha256: text(r.ConfigSHA256),
		End: pb.RunEnd(r.End + 1), EndedBy: text(r.EndedBy), Because: text(r.Because), Exit: encodeExit(r.Exit), SignalledBy: text(r.SignalledBy),
		Decision: text(r.Decision), NextAt: encodeTime(r.NextAt), Crash: r.Crash, Unreadable: text(r.Unreadable),
	}
}

func (d *decoder) run(w *pb.Run) messages.Run {
	r := messages.Run{
		ID: w.GetId(), Instance: w.GetInstance(), Incarnation: w.GetIncarnation(), PID: int(w.GetPid()),
		StartedAt: decodeTime(w.GetStartedAt()), StartedBy: w.GetStartedBy(),
		Binary: w.GetBinary(), BinarySHA256: w.GetBinarySha256(), ConfigSHA256: w.GetConfigSha256(),
		End: messages.EndUnknown, EndedBy: w.GetEndedBy(), Because: w.GetBecause(), Exit: d.exit(w.GetExit()), SignalledBy: w.GetSignalledBy(),
		Decision: w.GetDecision(), NextAt: decodeTime(w.GetNextAt()), Crash: w.GetCrash(), Unreadable: w.GetUnreadable(),
	}
	if n := w.GetTrigger() - 1; 0 <= n && n < messages.NumTriggers {
		r.Trigger = messages.Trigger(n)
	}
	if n := w.GetEnd() - 1; 0 <= n && n < messages.NumEnds {
		r.End = messages.End(n)
	}
	return r
}

func encodeCrash(c *messages.Crash) *pb.Crash {
	w := &pb.Crash{
		Number: c.Number, Fingerprint: text(c.Fingerprint), Id: text(c.ID), Program: text(c.Program), What: text(c.What),
		Language: text(c.Language), Reason: text(c.Reason), Trace: texts(c.Trace), Count: c.Count,
		First: encodeTime(c.First), Last: encodeTime(c.Last), Exit: encodeExit(&c.Exit),
		Core:   &pb.CoreDump{Path: text(c.Core.Path), SizeBytes: c.Core.Size, Note: text(c.Core.Note)},
		Output: texts(c.Output),
	}
	for i := range c.Usage {
		w.Usage = append(w.Usage, encodeUsage(&c.Usage[i]))
	}
	for _, r := range c.Recent {
		w.Recent = append(w.Recent, &pb.CrashedRun{Id: text(r.ID), Instance: text(r.Instance), Incarnation: r.Incarnation, Pid: uint32(r.PID), At: encodeTime(r.At)})
	}
	for _, o := range c.Others {
		w.Others = append(w.Others, &pb.OtherFailure{Id: text(o.ID), At: encodeTime(o.At), What: text(o.What)})
	}
	return w
}

func (d *decoder) crash(w *pb.Crash) messages.Crash {
	c := messages.Crash{
		Number: w.GetNumber(), Fingerprint: w.GetFingerprint(), ID: w.GetId(), Program: w.GetProgram(), What: w.GetWhat(),
		Language: w.GetLanguage(), Reason: w.GetReason(), Trace: w.GetTrace(), Count: w.GetCount(),
		First: decodeTime(w.GetFirst()), Last: decodeTime(w.GetLast()),
		Core:   messages.CoreDump{Path: w.GetCore().GetPath(), Size: w.GetCore().GetSizeBytes(), Note: w.GetCore().GetNote()},
		Output: w.GetOutput(),
	}
	if exit := d.exit(w.GetExit()); exit != nil {
		c.Exit = *exit
	}
	for _, u := range w.GetUsage() {
		c.Usage = append(c.Usage, decodeUsage(u))
	}
	for _, r := range w.GetRecent() {
		c.Recent = append(c.Recent, messages.CrashedRun{ID: r.Id, Instance: r.Instance, Incarnation: r.Incarnation, PID: int(r.Pid), At: decodeTime(r.At)})
	}
	for _, o := range w.GetOthers() {
		c.Others = append(c.Others, messages.OtherFailure{ID: o.Id, At: decodeTime(o.At), What: o.What})
	}
	return c
}
