// rtneural.cpp -- nanoseconds a step of RTNeural's LSTM, its sizes fixed when it is compiled: for block.py.
#include <RTNeural/RTNeural.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

constexpr int STEPS = 4096, TURNS = 40;

template <int units>
void measure()
{
    using clock = std::chrono::steady_clock;
    RTNeural::LSTMLayerT<float, 1, units> lstm;
    unsigned seed = 1;
    const auto draw = [&] { return float((seed = seed * 1664525u + 1013904223u) >> 8) / float(1 << 24) - 0.5f; };
    std::vector<std::vector<float>> kernel(1), recurrent(units);
    std::vector<float> bias(4 * units), x(STEPS);
    for (auto *matrix : {&kernel, &recurrent})
        for (auto &row : *matrix)
            for (int n = 0; n < 4 * units; n++)
                row.push_back(draw());
    std::generate(bias.begin(), bias.end(), draw);
    std::generate(x.begin(), x.end(), draw);
    lstm.setWVals(kernel);
    lstm.setUVals(recurrent);
    lstm.setBVals(bias);
    lstm.reset();
    float sum = 0;
    std::vector<double> turns;
    for (int turn = 0; turn < TURNS; turn++) {
        const auto start = clock::now();
        for (const float value : x) {
            Eigen::Matrix<float, 1, 1> in;
            in(0) = value;
            lstm.forward(in);
            sum += lstm.outs(0);
        }
        turns.push_back(std::chrono::duration<double, std::nano>(clock::now() - start).count() / STEPS);
    }
    std::nth_element(turns.begin(), turns.begin() + TURNS / 2, turns.end());
    std::printf("%d %.1f %g\n", units, turns[TURNS / 2], double(sum)); // the sum, so that it has to be computed
}

int main()
{
    measure<8>();
    measure<16>();
    measure<20>();
    measure<32>();
    measure<40>();
    measure<64>();
}
