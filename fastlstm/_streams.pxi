# Streams: layers step by step, their states kept between calls. Part of _core.pyx.

IN_USE = "stream: in use by another thread; give each thread its own (stream.copy())"


cdef bint array_fits(cnp.ndarray a, int typenum, size_t rows, size_t width) noexcept:
    """(rows, width), or (width,) for one row: contiguous, aligned, native, of this type."""
    if cnp.PyArray_TYPE(a) != typenum or not cnp.PyArray_ISCARRAY_RO(a):
        return False
    if a.ndim == 2:
        return <size_t>a.shape[0] == rows and <size_t>a.shape[1] == width
    return a.ndim == 1 and rows == 1 and <size_t>a.shape[0] == width


cdef class StreamCore:
    """A layer's state between steps; ``fastlstm.stream.Stream`` is its public face."""

    cdef readonly Plan plan
    cdef readonly size_t batch_size
    cdef void *memory
    cdef bint busy

    def __cinit__(self, Plan plan not None, size_t batch_size):
        cdef size_t size = flstm_stream_size(plan.plan, batch_size)
        self.plan, self.batch_size = plan, batch_size
        self.memory = PyMem_RawMalloc(size + 64) if size < <size_t>-1 - 64 else NULL
        if self.memory == NULL:
            raise MemoryError("fastlstm: no memory for a stream of this batch_size")
        flstm_stream_set(plan.plan, aligned(self.memory), batch_size, NULL, NULL)

    def __dealloc__(self):
        PyMem_RawFree(self.memory)

    cdef int claim(self) except -1:
        if self.busy:
            raise FastLSTMError(IN_USE)
        return 0

    def _get(self, cnp.ndarray h not None, cnp.ndarray c=None):
        """Copy the state into h and, where the cell has one, c, (B,U)."""
        self.claim()
        flstm_stream_get(self.plan.plan, aligned(self.memory), self.batch_size,
                         cnp.PyArray_DATA(h), data_or_null(c))

    def _set(self, cnp.ndarray h, cnp.ndarray c=None):
        """Set the state from h and, where the cell has one, c, (B,U); None is zeros."""
        self.claim()
        flstm_stream_set(self.plan.plan, aligned(self.memory), self.batch_size, data_or_null(h), data_or_null(c))

    def step(self, x, out=None):
        """Advance every row by one step.

        Parameters
        ----------
        x : array_like, shape (batch_size, features) or, for one row, (features,)
            The step's input; any dtype and layout, fastest as a contiguous array of the layer's dtype.
        out : ndarray, optional
            Where the output goes: writable, contiguous, of the layer's dtype and of the output's
            shape. With it a step allocates nothing.

        Returns
        -------
        ndarray, shape (batch_size, units) or, for a 1-D x, (units,)
            The output h of this step: ``out`` where it was given.

        Raises
        ------
        FastLSTMError
            Wrong shape of x, or an out that does not fit. The state is then unchanged.
        """
        cdef cnp.ndarray a, y
        cdef cnp.npy_intp shape[2]
        cdef Plan plan = self.plan
        cdef int rank
        if not cnp.PyArray_CheckExact(x) or not array_fits(<cnp.ndarray>x, plan.typenum, self.batch_size, plan.features):
            x = self._coerce(x, 1)
        a = <cnp.ndarray>x
        rank = a.ndim
        if out is None:
            shape[0], shape[1] = self.batch_size, plan.outputs
            y = cnp.PyArray_EMPTY(rank, shape + (2 - rank), plan.typenum, 0)
        elif (cnp.PyArray_CheckExact(out) and (<cnp.ndarray>out).ndim == rank
              and array_fits(<cnp.ndarray>out, plan.typenum, self.batch_size, plan.outputs) and cnp.PyArray_ISWRITEABLE(<cnp.ndarray>out)):
            y = <cnp.ndarray>out
        else:
            raise self._bad_out(out, (self.batch_size, plan.outputs)[2 - rank:])
        self._advance(1, cnp.PyArray_DATA(a), plan.features, cnp.PyArray_DATA(y), plan.outputs)
        return y

    def run(self, x, out=None):
        """Advance every row by a block of steps.

        Parameters
        ----------
        x : array_like, shape (batch_size, T, features) or, for one row, (T, features)
        out : ndarray, optional
            As in :meth:`step`, of the output's shape.

        Returns
        -------
        ndarray, shape (batch_size, T, units) or, for a 2-D x, (T, units)
            The output of every step; the same bits as T calls of :meth:`step`.
        """
        cdef cnp.ndarray a = self._coerce(x, 2), y
        cdef Plan plan = self.plan
        cdef size_t steps = a.shape[a.ndim - 2]
        cdef cnp.npy_intp sizes[3]
        sizes[0], sizes[1], sizes[2] = self.batch_size, steps, plan.outputs
        shape = (self.batch_size, steps, plan.outputs)[3 - a.ndim:]
        if out is None:
            out = cnp.PyArray_EMPTY(a.ndim, sizes + (3 - a.ndim), plan.typenum, 0)
        elif not (cnp.PyArray_CheckExact(out) and cnp.PyArray_ISCARRAY(<cnp.ndarray>out)
                  and cnp.PyArray_TYPE(<cnp.ndarray>out) == plan.typenum and out.shape == shape):
            raise self._bad_out(out, shape)
        y = <cnp.ndarray>out
        self._advance(steps, cnp.PyArray_DATA(a), steps * plan.features, cnp.PyArray_DATA(y), steps * plan.outputs)
        return y

    cdef int _advance(self, size_t steps, const void *x, size_t x_batch, void *y, size_t y_batch) except -1:
        cdef Plan plan = self.plan
        cdef void *memory = aligned(self.memory)
        cdef double work = <double>self.batch_size * steps * plan.gates * plan.units * (plan.features + plan.outputs)
        cdef size_t done = 0, n, most, threads = plan.threads or default_threads
        cdef flstm_status status = FLSTM_OK
        self.claim()
        if work < UNLOCKED_WORK:
            return check(flstm_stream_run(plan.plan, memory, self.batch_size, steps, x, x_batch, plan.features,
                                          y, y_batch, plan.outputs, threads))
        before = self.state if work > UNPOLLED_WORK else None
        most = <size_t>(UNPOLLED_WORK * steps / work) + 1
        self.busy = True
        while done < steps and status == FLSTM_OK:
            n = min(steps - done, most)
            with nogil:
                status = flstm_stream_run(
                    plan.plan, memory, self.batch_size, n,
                    <const char *>x + done * plan.features * plan.element, x_batch, plan.features,
                    <char *>y + done * plan.outputs * plan.element, y_batch, plan.outputs, threads)
            done += n
            if status == FLSTM_OK and done < steps and PyErr_CheckSignals():
                status = FLSTM_ERR_INTERRUPTED
        self.busy = False
        if status == FLSTM_ERR_INTERRUPTED:  # as if the block had never begun
            # the signal's exception is set: no method may be called; a cell without c does not read it
            flstm_stream_set(plan.plan, memory, self.batch_size,
                             data_or_null(before[0]), data_or_null(before[plan.states - 1]))
        return check(status)

    def _coerce(self, x, int axes):
        raise NotImplementedError

    def _bad_out(self, out, shape):
        raise NotImplementedError


cdef size_t whole_lines(size_t size) noexcept:
    """Up to where the next cache line begins."""
    return (size + 63) & ~<size_t>63


cdef struct Link:
    const flstm_plan *plan  # NULL: a dense layer
    void *stream
    const flstm_dense *dense
    void *workspace
    size_t features, units, threads
    void *y  # NULL: the caller's


cdef class ChainCore:
    """Streams and dense layers, each reading what the one before puts out, a step of all in one call.

    Parameters
    ----------
    parts : sequence of StreamCore and DensePlan
        Of one dtype, and the streams of one batch_size.
    """

    cdef readonly tuple parts
    cdef readonly size_t batch_size, features, units
    cdef readonly object dtype
    cdef Link *links
    cdef size_t count
    cdef void *memory  # outputs between the layers, workspaces of the dense ones
    cdef int typenum
    cdef double work
    cdef bint busy

    def __cinit__(self, parts, size_t batch_size):
        cdef size_t n, size = 0, row, element = 0
        cdef Plan plan
        cdef DensePlan dense
        cdef Link *link
        self.parts, self.batch_size, self.count = tuple(parts), batch_size, len(parts)
        self.links = <Link *>PyMem_RawCalloc(self.count, sizeof(Link))
        if self.links == NULL:
            raise MemoryError("fastlstm: no memory for a stream")
        for n in range(self.count):
            link, part = &self.links[n], self.parts[n]
            if isinstance(part, StreamCore):
                plan = (<StreamCore>part).plan
                link.plan, link.stream = plan.plan, aligned((<StreamCore>part).memory)
                link.features, link.units, link.threads = plan.features, plan.outputs, plan.threads
                element = plan.element
                self.dtype, self.typenum = plan.dtype, plan.typenum
                self.work += <double>batch_size * plan.gates * plan.units * (plan.features + plan.outputs)
            else:
                dense = part
                link.dense, link.features, link.units = dense.dense, dense.features, dense.units
                size += whole_lines(flstm_dense_workspace_size(dense.dense, batch_size))
                self.work += <double>batch_size * dense.features * dense.units
            size += whole_lines(batch_size * link.units * sizeof(double))
        self.features, self.units = self.links[0].features, self.links[self.count - 1].units
        self.memory = PyMem_RawMalloc(size + 64)
        if self.memory == NULL:
            raise MemoryError("fastlstm: no memory for a stream of this batch_size")
        cdef char *at = <char *>aligned(self.memory)
        for n in range(self.count):
            link = &self.links[n]
            if link.plan == NULL:
                link.workspace = at
                at += whole_lines(flstm_dense_workspace_size(link.dense, batch_size))
            if n + 1 < self.count:
                link.y = at
                at += whole_lines(batch_size * link.units * element)

    def __dealloc__(self):
        PyMem_RawFree(self.links)
        PyMem_RawFree(self.memory)

    def fits(self, x, out):
        """Whether x, (batch_size, features) or one row (features,), and out, None or of the output's shape,
        can be used as they are."""
        cdef cnp.ndarray y
        if not cnp.PyArray_CheckExact(x) or not array_fits(<cnp.ndarray>x, self.typenum, self.batch_size, self.features):
            return False
        if out is None:
            return True
        if not cnp.PyArray_CheckExact(out):
            return False
        y = out
        return (array_fits(y, self.typenum, self.batch_size, self.units) and cnp.PyArray_ISWRITEABLE(y)
                and y.ndim == (<cnp.ndarray>x).ndim)

    def step(self, cnp.ndarray x not None, cnp.ndarray out):
        """Advance by a step: x and out as :meth:`fits` has them."""
        cdef cnp.npy_intp shape[2]
        cdef int rank = x.ndim
        cdef flstm_status status
        if self.busy:
            raise FastLSTMError(IN_USE)
        for part in self.parts:
            if isinstance(part, StreamCore):
                (<StreamCore>part).claim()
        if out is None:
            shape[0], shape[1] = self.batch_size, self.units
            out = cnp.PyArray_EMPTY(rank, shape + (2 - rank), self.typenum, 0)
        cdef const void *from_ = cnp.PyArray_DATA(x)
        cdef void *to = cnp.PyArray_DATA(out)
        if self.work < UNLOCKED_WORK:
            status = self._run(from_, to)
        else:
            self._mark(True)
            with nogil:
                status = self._run(from_, to)
            self._mark(False)
        check(status)
        return out

    cdef void _mark(self, bint busy) noexcept:
        self.busy = busy
        for part in self.parts:
            if isinstance(part, StreamCore):
                (<StreamCore>part).busy = busy

    cdef flstm_status _run(self, const void *x, void *out) noexcept nogil:
        cdef size_t n
        cdef Link *link
        cdef void *y
        cdef flstm_status status = FLSTM_OK
        for n in range(self.count):
            link = &self.links[n]
            y = out if link.y == NULL else link.y
            if link.plan != NULL:
                status = flstm_stream_run(link.plan, link.stream, self.batch_size, 1, x, link.features, link.features,
                                          y, link.units, link.units, link.threads or default_threads)
            else:
                status = flstm_dense_run(link.dense, self.batch_size, x, link.features, y, link.workspace)
            if status != FLSTM_OK:
                break
            x = y
        return status
