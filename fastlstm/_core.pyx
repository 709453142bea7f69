# cython: language_level=3, binding=False, boundscheck=False, wraparound=False
"""The binding to csrc: pointers and sizes in, status out; no arithmetic, no policy."""

cimport numpy as cnp
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from libc.stddef cimport ptrdiff_t, size_t
from libc.stdint cimport uint8_t, uintptr_t

from fastlstm.errors import FastLSTMError

cnp.import_array()


# Multiply-adds (a few microseconds of them) from which on the interpreter's lock is given up, and
# (some milliseconds) after which a long run looks for Ctrl-C.
cdef double UNLOCKED_WORK = 2e5
cdef double UNPOLLED_WORK = 2e7


cdef int check(flstm_status status) except -1:
    """The one place where a status becomes an exception."""
    if status == FLSTM_OK:
        return 0
    if status == FLSTM_ERR_INTERRUPTED:
        return -1  # the signal handler's exception is set already
    if status == FLSTM_ERR_MEMORY:
        raise MemoryError("fastlstm: no memory for the packed weights")
    if status == FLSTM_ERR_SIZE:
        raise FastLSTMError("features and units: their product is beyond the address range")
    if status == FLSTM_ERR_ISA:
        raise FastLSTMError("isa: no such kernel, or this processor cannot run it")
    raise FastLSTMError("fastlstm: the C library refused its arguments; please report this")


cdef int poll_signals(void *unused) noexcept with gil:
    return PyErr_CheckSignals()


cdef list list_kernels():
    cdef size_t i = 0
    found = []
    while flstm_kernel_name(i) != NULL:
        found.append((flstm_kernel_name(i).decode(), bool(flstm_kernel_runs(i)), bool(flstm_kernel_fused(i))))
        i += 1
    return found


# Asked once: under a hypervisor every CPUID instruction costs some microseconds.
cdef list KERNELS = list_kernels()


def kernels():
    """The compiled-in kernels, best first: ``(name, runs here, multiply-adds round once)``."""
    return list(KERNELS)


def build_info():
    """The compiler and the flags that this module was built with."""
    return FLSTM_COMPILER.decode(), FLSTM_FLAGS.decode()


def activation_names():
    """Names of the activations in the C library; their position is their number there."""
    found = []
    while flstm_activation_name(len(found)) != NULL:
        found.append(flstm_activation_name(len(found)).decode())
    return found


cdef flstm_dtype dtype_of(cnp.ndarray a) except *:
    cdef int kind = cnp.PyArray_TYPE(a)
    if kind == cnp.NPY_FLOAT32:
        return FLSTM_F32
    if kind == cnp.NPY_FLOAT64:
        return FLSTM_F64
    raise FastLSTMError(f"array has dtype {a.dtype}; expected float32 or float64")


def activate(int activation, size_t kernel, cnp.ndarray x not None, cnp.ndarray out not None):
    """Apply activation number ``activation`` along the last axis of contiguous x into out."""
    cdef size_t n = x.shape[x.ndim - 1] if x.ndim else 1
    cdef size_t rows = <size_t>x.size // n if n else 0
    if not (cnp.PyArray_ISCARRAY_RO(x) and cnp.PyArray_ISCARRAY(out)) or x.size != out.size or x.dtype != out.dtype:
        raise FastLSTMError("activate: x and out must be contiguous, aligned and alike")
    if kernel >= <size_t>len(KERNELS) or not KERNELS[<Py_ssize_t>kernel][1]:
        check(FLSTM_ERR_ISA)
    cdef flstm_dtype dtype = dtype_of(x)
    cdef const void *from_ = cnp.PyArray_DATA(x)
    cdef void *to = cnp.PyArray_DATA(out)
    cdef flstm_status status
    with nogil:
        status = flstm_activate(dtype, activation, kernel, rows, n, from_, to)
    check(status)


cdef void *aligned(void *memory) noexcept nogil:
    return <void *>((<uintptr_t>memory + 63) & ~<uintptr_t>63)


cdef void *data_or_null(cnp.ndarray a) noexcept:
    return NULL if a is None else cnp.PyArray_DATA(a)


cdef class Plan:
    """Packed weights and the kernel chosen for them; immutable, usable from any thread.

    Arrays given to its methods have the plan's dtype and are checked by the caller: the layers.
    """

    cdef flstm_plan *plan
    cdef void *spare  # the last call's workspace, kept for the next one
    cdef size_t spare_size
    cdef readonly size_t features, units
    cdef readonly object dtype
    cdef int typenum
    cdef size_t element

    def __cinit__(self, cnp.ndarray kernel not None, cnp.ndarray recurrent_kernel not None, cnp.ndarray bias,
                  int activation, int recurrent_activation, isa, bint reproducible):
        cdef flstm_config config
        cdef bytes name = None if isa is None else isa.encode()
        config.dtype = dtype_of(kernel)
        config.features = kernel.shape[0]
        config.units = recurrent_kernel.shape[0]
        config.activation = activation
        config.recurrent_activation = recurrent_activation
        config.isa = NULL
        if name is not None:
            config.isa = name
        config.reproducible = reproducible
        self.features, self.units, self.dtype = config.features, config.units, kernel.dtype
        self.typenum = cnp.PyArray_TYPE(kernel)
        self.element = kernel.itemsize
        for array, rows in ((kernel, self.features), (recurrent_kernel, self.units), (bias, 1)):
            if array is not None and (not cnp.PyArray_ISCARRAY_RO(array) or array.dtype != self.dtype
                                      or array.size != rows * 4 * self.units):
                raise FastLSTMError("Plan: weights must be contiguous, native, of one dtype and of matching sizes")
        cdef const void *k = cnp.PyArray_DATA(kernel)
        cdef const void *r = cnp.PyArray_DATA(recurrent_kernel)
        cdef const void *b = data_or_null(bias)
        cdef flstm_status status
        with nogil:
            status = flstm_plan_create(&self.plan, &config, k, r, b)
        check(status)

    def __dealloc__(self):
        flstm_plan_destroy(self.plan)
        PyMem_RawFree(self.spare)

    @property
    def isa(self):
        """Name of the kernel."""
        return flstm_plan_isa(self.plan).decode()

    @property
    def nbytes(self):
        """Bytes that the packed weights take."""
        return flstm_plan_bytes(self.plan)

    def run(self, cnp.ndarray x not None, cnp.ndarray h0, cnp.ndarray c0, cnp.ndarray y, cnp.ndarray last,
            cnp.ndarray h, cnp.ndarray c, cnp.ndarray mask, bint go_backwards, bint zero_output_for_mask):
        """One call of ``flstm_run``: x (B,T,I), mask (B,T) uint8, y (B,T,U), the rest (B,U) or None.

        x and y may have any strides on their first two axes.
        """
        cdef flstm_call call
        cdef ptrdiff_t e = self.element
        call.batch, call.steps = x.shape[0], x.shape[1]
        call.x, call.x_batch, call.x_step = cnp.PyArray_DATA(x), x.strides[0] // e, x.strides[1] // e
        call.h0, call.c0, call.h, call.c = data_or_null(h0), data_or_null(c0), data_or_null(h), data_or_null(c)
        call.last, call.y = data_or_null(last), data_or_null(y)
        call.y_batch = call.y_step = 0
        if y is not None:
            call.y_batch, call.y_step = y.strides[0] // e, y.strides[1] // e
        call.mask = <const uint8_t *>data_or_null(mask)
        call.mask_batch = call.mask_step = 0
        if mask is not None:
            call.mask_batch, call.mask_step = mask.strides[0], mask.strides[1]
        call.go_backwards, call.zero_output_for_mask = go_backwards, zero_output_for_mask
        call.poll, call.poll_arg = NULL, NULL

        cdef size_t size = flstm_workspace_size(self.plan, call.batch, call.steps)
        cdef void *workspace = self.spare
        cdef size_t have = self.spare_size
        self.spare, self.spare_size = NULL, 0  # nobody else takes it while we run
        if have < size + 64:
            PyMem_RawFree(workspace)
            have = size + 64
            workspace = PyMem_RawMalloc(have)
            if workspace == NULL:
                raise MemoryError("fastlstm: no memory for the workspace of a call")
        cdef flstm_status status
        cdef double work = <double>call.batch * call.steps * 4 * self.units * (self.features + self.units)
        if work < UNLOCKED_WORK:
            status = flstm_run(self.plan, &call, aligned(workspace))
        else:
            call.poll = poll_signals
            with nogil:
                status = flstm_run(self.plan, &call, aligned(workspace))
        if self.spare == NULL:
            self.spare, self.spare_size = workspace, have
        else:
            PyMem_RawFree(workspace)
        check(status)


cdef class DensePlan:
    """A dense layer's packed weights; immutable, usable from any thread. Its caller checks the arrays."""

    cdef flstm_dense *dense
    cdef readonly size_t features, units
    cdef readonly object dtype
    cdef int typenum
    cdef size_t element

    def __cinit__(self, cnp.ndarray kernel not None, cnp.ndarray bias, int activation, isa):
        cdef flstm_config config
        cdef bytes name = isa.encode()
        config.dtype = dtype_of(kernel)
        config.features, config.units = kernel.shape[0], kernel.shape[1]
        config.activation = config.recurrent_activation = activation
        config.isa, config.reproducible = name, False
        self.features, self.units, self.dtype = config.features, config.units, kernel.dtype
        self.typenum, self.element = cnp.PyArray_TYPE(kernel), kernel.itemsize
        for array, size in ((kernel, self.features * self.units), (bias, self.units)):
            if array is not None and (not cnp.PyArray_ISCARRAY_RO(array) or array.dtype != self.dtype
                                      or int(array.size) != int(size)):
                raise FastLSTMError("DensePlan: weights must be contiguous, native, of one dtype and of matching sizes")
        cdef const void *k = cnp.PyArray_DATA(kernel)
        cdef const void *b = data_or_null(bias)
        cdef flstm_status status
        with nogil:
            status = flstm_dense_create(&self.dense, &config, k, b)
        check(status)

    def __dealloc__(self):
        flstm_dense_destroy(self.dense)

    def run(self, cnp.ndarray x not None):
        """activation(x W + b) for contiguous x (..., I) of the plan's dtype: a new array (..., N)."""
        cdef cnp.npy_intp shape[32]
        cdef int axis, rank = x.ndim
        cdef size_t rows = 1
        for axis in range(rank - 1):
            shape[axis] = x.shape[axis]
            rows *= <size_t>x.shape[axis]
        shape[rank - 1] = self.units
        cdef cnp.ndarray y = cnp.PyArray_EMPTY(rank, shape, self.typenum, 0)
        cdef const void *from_ = cnp.PyArray_DATA(x)
        cdef void *to = cnp.PyArray_DATA(y)
        cdef void *workspace = PyMem_RawMalloc(flstm_dense_workspace_size(self.dense, rows) + 64)
        cdef flstm_status status = FLSTM_OK
        cdef double row_work = <double>self.features * self.units
        cdef size_t done = 0, n, most = <size_t>(UNPOLLED_WORK / row_work) + 48
        if workspace == NULL:
            raise MemoryError("fastlstm: no memory for the workspace of a dense layer")
        if rows * row_work < UNLOCKED_WORK:
            status = flstm_dense_run(self.dense, rows, from_, self.features, to, aligned(workspace))
            done = rows
        while done < rows and status == FLSTM_OK:
            n = min(rows - done, most)
            with nogil:
                status = flstm_dense_run(
                    self.dense, n, <const char *>from_ + done * self.features * self.element, self.features,
                    <char *>to + done * self.units * self.element, aligned(workspace))
            done += n
            if status == FLSTM_OK and done < rows and PyErr_CheckSignals():
                status = FLSTM_ERR_INTERRUPTED
        PyMem_RawFree(workspace)
        check(status)
        return y


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
        cdef size_t done = 0, n, most
        cdef flstm_status status = FLSTM_OK
        self.claim()
        if work < UNLOCKED_WORK:
            return check(flstm_stream_run(plan.plan, memory, self.batch_size, steps, x, x_batch, plan.features,
                                          y, y_batch, plan.units))
        before = self.state if work > UNPOLLED_WORK else None
        most = <size_t>(UNPOLLED_WORK * steps / work) + 1
        self.busy = True
        while done < steps and status == FLSTM_OK:
            n = min(steps - done, most)
            with nogil:
                status = flstm_stream_run(
                    plan.plan, memory, self.batch_size, n,
                    <const char *>x + done * plan.features * plan.element, x_batch, plan.features,
                    <char *>y + done * plan.units * plan.element, y_batch, plan.units)
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
