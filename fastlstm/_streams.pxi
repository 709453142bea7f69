# Streams: layers step by step, their states kept between calls. Part of _core.pyx.

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
            raise FastLSTMError("stream: in use by another thread; give each thread its own (stream.copy())")
        return 0

    def _get(self, cnp.ndarray h not None, cnp.ndarray c not None):
        """Copy the state into h and c, (B,U)."""
        self.claim()
        flstm_stream_get(self.plan.plan, aligned(self.memory), self.batch_size,
                         cnp.PyArray_DATA(h), cnp.PyArray_DATA(c))

    def _set(self, cnp.ndarray h, cnp.ndarray c):
        """Set the state from h and c, (B,U); None is zeros."""
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
        if not cnp.PyArray_CheckExact(x) or not self._fits(<cnp.ndarray>x, plan.features):
            x = self._coerce(x, 1)
        a = <cnp.ndarray>x
        rank = a.ndim
        if out is None:
            shape[0], shape[1] = self.batch_size, plan.units
            y = cnp.PyArray_EMPTY(rank, shape + (2 - rank), plan.typenum, 0)
        elif (cnp.PyArray_CheckExact(out) and (<cnp.ndarray>out).ndim == rank
              and self._fits(<cnp.ndarray>out, plan.units) and cnp.PyArray_ISWRITEABLE(<cnp.ndarray>out)):
            y = <cnp.ndarray>out
        else:
            raise self._bad_out(out, (self.batch_size, plan.units)[2 - rank:])
        self._advance(1, cnp.PyArray_DATA(a), plan.features, cnp.PyArray_DATA(y), plan.units)
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
        sizes[0], sizes[1], sizes[2] = self.batch_size, steps, plan.units
        shape = (self.batch_size, steps, plan.units)[3 - a.ndim:]
        if out is None:
            out = cnp.PyArray_EMPTY(a.ndim, sizes + (3 - a.ndim), plan.typenum, 0)
        elif not (cnp.PyArray_CheckExact(out) and cnp.PyArray_ISCARRAY(<cnp.ndarray>out)
                  and cnp.PyArray_TYPE(<cnp.ndarray>out) == plan.typenum and out.shape == shape):
            raise self._bad_out(out, shape)
        y = <cnp.ndarray>out
        self._advance(steps, cnp.PyArray_DATA(a), steps * plan.features, cnp.PyArray_DATA(y), steps * plan.units)
        return y

    cdef bint _fits(self, cnp.ndarray a, size_t width) noexcept:
        """(batch_size, width), or (width,) for one row: contiguous, aligned, native, of our dtype."""
        if cnp.PyArray_TYPE(a) != self.plan.typenum or not cnp.PyArray_ISCARRAY_RO(a):
            return False
        if a.ndim == 2:
            return <size_t>a.shape[0] == self.batch_size and <size_t>a.shape[1] == width
        return a.ndim == 1 and self.batch_size == 1 and <size_t>a.shape[0] == width

    cdef int _advance(self, size_t steps, const void *x, size_t x_batch, void *y, size_t y_batch) except -1:
        cdef Plan plan = self.plan
        cdef void *memory = aligned(self.memory)
        cdef double work = <double>self.batch_size * steps * 4 * plan.units * (plan.features + plan.units)
        cdef size_t done = 0, n, most, threads = plan.threads or default_threads
        cdef flstm_status status = FLSTM_OK
        self.claim()
        if work < UNLOCKED_WORK:
            return check(flstm_stream_run(plan.plan, memory, self.batch_size, steps, x, x_batch, plan.features,
                                          y, y_batch, plan.units, threads))
        before = self.state if work > UNPOLLED_WORK else None
        most = <size_t>(UNPOLLED_WORK * steps / work) + 1
        self.busy = True
        while done < steps and status == FLSTM_OK:
            n = min(steps - done, most)
            with nogil:
                status = flstm_stream_run(
                    plan.plan, memory, self.batch_size, n,
                    <const char *>x + done * plan.features * plan.element, x_batch, plan.features,
                    <char *>y + done * plan.units * plan.element, y_batch, plan.units, threads)
            done += n
            if status == FLSTM_OK and done < steps and PyErr_CheckSignals():
                status = FLSTM_ERR_INTERRUPTED
        self.busy = False
        if status == FLSTM_ERR_INTERRUPTED:  # as if the block had never begun
            flstm_stream_set(plan.plan, memory, self.batch_size,
                             data_or_null(before[0]), data_or_null(before[1]))
        return check(status)

    def _coerce(self, x, int axes):
        raise NotImplementedError

    def _bad_out(self, out, shape):
        raise NotImplementedError
