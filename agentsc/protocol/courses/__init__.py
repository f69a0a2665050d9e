"""Courses: agree on an order once, then say how far you are. The protocol `intent`, in parts.

Everybody tells its wish until all know all wishes. From those everybody works out the same course (routes, and who
passes where before whom; `agentsc.protocol.joint`), and says so by its digest. Who knows that all say the same sets
out, and from then on commits to steps as the course's order allows, and tells how far it has committed: no plans cross
the air, and no grants.

Whoever wants to go elsewhere calls for the next course: it tells its new wish, and how far along the present course it
will still go; whoever hears that does the same. Then all is as before, but that the new course begins with what
everybody had promised to still do. Courses are numbered; a packet that speaks of one says that all have agreed to the
one before.

Whoever is held up by a peer that has been silent for ``silence_s``, or has lost its course, calls a rally: the others
stop, and agree on a course without those that are silent, if they are a majority (`agentsc.protocol.rally`).

Whoever has not yet agreed to the first course may leave instead: when none is found, or wishes are missing for too
long. Once a majority has left, none can ever be agreed on, and everybody negotiates plan by plan
(`agentsc.protocol.variants.negotiated`).

Safe under any loss: until it sets out an agent rests where the roster says, or goes no farther than it has said. It
sets out knowing that all others have agreed. Who has agreed leaves only upon hearing of somebody who has left without
agreeing; so if anybody sets out, nobody has left or ever will. From then on the course's own argument holds
(`agentsc.protocol.joint.order`).

**The parts**, in the order to read them in; each block class adds to one before it:

1. `phases`: what an agent may be up to.
2. `along`: being on a course. Which one, committing to steps, telling how far and hearing how far others are.
3. `agreement`: getting onto the next one. Wishes, digests, setting out, leaving; what comes in and what goes out.
4. `lead` and `detours`, which those two ask: what everybody still does of the present course before the next one
   begins, and which boxes that came late courses go around.
5. `beliefs`: where peers may be, for those who watch, and for terms. Nothing is decided by it.
6. `silence`: who has been silent for too long while it was waited for.
7. `rallies`: going on without those. It replaces some methods of `agreement`, and adds a kind of word.

`agentsc.protocol.variants.intent` puts them together, and has the parameters.

**One round of one agent** follows two methods of `agreement`. ``listen``: take in what came (``_take_in``), call for
another course if there is reason to (``_call``), agree if all wishes are there (``_agree``), set out if all digests are
(``_set_out``), and commit to further steps (``_go_on``, of `along`). ``speak``: its wish while there is no agreement,
its progress while somebody waits for that, else nothing.
"""
